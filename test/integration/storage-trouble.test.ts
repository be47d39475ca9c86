import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import { has } from '../support/capabilities.ts';
import { executor } from '../support/executor.ts';
import { fakeClaude } from '../support/processes.ts';
import { smallDisk } from '../support/small-disk.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

it.runIf(has('mount'))(
  'a disk that fills in mid-run ends the run as storage_full, with everything stored before and an end',
  async () => {
    const { path } = smallDisk(8);
    const { start, follow } = await executor({ folder: path, env: { CLAUDE_BIN: fakeClaude('floods') } });
    const { id } = await start({ prompt: 'x', env: { FAKE_COUNT: '2000000' } });
    const { execution, events } = await follow(id);
    expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'storage_full' });
    expect(events.length).toBeGreaterThan(1000);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
    expect(events.at(-1)?.type).toBe('execution.finished');
  },
);

it.runIf(has('mount'))(
  'a full disk refuses new executions with the reason, and what was stored stays readable',
  async () => {
    const disk = smallDisk(8);
    const { start, run, follow } = await executor({ folder: disk.path, env: { CLAUDE_BIN: fakeClaude('succeeds') } });
    const { execution } = await run({ prompt: 'x' });
    await writeFile(join(disk.path, 'ballast'), Buffer.alloc(16 * 1024 * 1024)).catch(() => {});
    await expect(start({ prompt: 'y'.repeat(500_000) })).rejects.toMatchObject({ code: 'storage_unavailable' });
    expect((await follow(execution.id)).execution.outcome?.kind).toBe('succeeded');
  },
);

it('a file where the data folder should be is named, with what to do', async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'data'), 'x');
  await expect(executor({ folder })).rejects.toMatchObject({
    code: 'data_folder_unusable',
    message: expect.stringContaining('data'),
  });
});

it('a store of a newer version is refused and left as it is', async () => {
  const folder = await temporaryFolder();
  await mkdir(join(folder, 'data'));
  const database = new DatabaseSync(join(folder, 'data', 'store.sqlite'));
  database.exec('PRAGMA user_version = 9999');
  database.close();
  await expect(executor({ folder })).rejects.toMatchObject({
    code: 'storage_newer',
    message: expect.stringContaining('9999'),
  });
});
