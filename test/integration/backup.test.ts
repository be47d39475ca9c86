import { cp, mkdir } from 'node:fs/promises';
import { backup, DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { testServer } from '../support/server.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** What `sqlite3 store.sqlite ".backup …"` does; see docs/operations.md. */
async function copyStore(from: string, to: string): Promise<void> {
  const store = new DatabaseSync(from, { readOnly: true });
  try {
    await backup(store, to);
  } finally {
    store.close();
  }
}

test('a data folder that is copied while its service runs gives another service all that was stored by then', async () => {
  const script = [
    { kind: 'text' as const, text: 'Hello' },
    { kind: 'deltas' as const, count: 2_000, text: 'word ', deltaEveryMs: 20 },
  ];
  const first = await testServer({ script });
  const done = await first.run({ prompt: 'x', workspace: 'kept' });
  await first.call('/v1/workspaces/kept/files/notes.txt', { method: 'PUT', body: 'remember' });
  const log = await first.stream(done.id);
  const running = await first.submit({ prompt: 'y' });
  await expect.poll(async () => (await first.get(running.id)).cli, { timeout: 15_000 }).not.toBeNull();

  const data = `${first.folder}/data`;
  const restored = await temporaryFolder();
  await mkdir(`${restored}/data`);
  await copyStore(`${data}/store.sqlite`, `${restored}/data/store.sqlite`);
  for (const part of ['sessions', 'workspaces', 'key']) {
    await cp(`${data}/${part}`, `${restored}/data/${part}`, { recursive: true });
  }
  await first.stop();

  const second = await testServer({ folder: restored });
  expect(second.key).toBe(first.key);
  expect(await second.get(done.id)).toEqual(done);
  expect(await second.stream(done.id)).toBe(log);
  expect(await (await second.call('/v1/workspaces/kept/files/notes.txt')).text()).toBe('remember');
  expect(await second.get(running.id)).toMatchObject({ outcome: { kind: 'lost' } });
  const next = await second.run({ prompt: 'And on', sessionId: done.sessionId ?? '' });
  expect(next).toMatchObject({ outcome: { kind: 'succeeded' }, workspace: 'kept' });
});
