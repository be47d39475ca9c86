import { expect, it, onTestFinished } from 'vitest';
import { answersAt } from '../../src/client/answers-at.ts';
import { connectServer, type ServerClient } from '../../src/client/server-client.ts';
import type { StoredEvent } from '../../src/protocol/events.ts';
import { type TestServer, testServer } from '../support/server.ts';

function clientOf({ url, key }: TestServer, transport: 'sse' | 'websocket' = 'sse'): ServerClient {
  const client = connectServer({ url, key, transport });
  onTestFinished(() => client.close({ force: true }));
  return client;
}

async function read(client: ServerClient, id: string, after = 0): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  for await (const batch of client.events(id, { after })) events.push(...batch);
  return events;
}

it('both transports follow a live run, and read it again, with the same bytes', async () => {
  const server = await testServer({ script: [{ kind: 'deltas', count: 30, text: 'wörd ', deltaEveryMs: 10 }] });
  const [sse, websocket] = [clientOf(server, 'sse'), clientOf(server, 'websocket')];
  const { id } = await sse.execute({ prompt: 'hi' });
  const [first, second] = await Promise.all([read(sse, id), read(websocket, id)]);
  expect(first.map(({ seq }) => seq)).toEqual(first.map((_, index) => index + 1));
  expect(first.at(-1)?.type).toBe('execution.finished');
  expect(second).toEqual(first);
  expect(await read(sse, id, 3)).toEqual(first.slice(3));
  expect(await read(websocket, id, 3)).toEqual(first.slice(3));
});

it.each(['sse', 'websocket'] as const)('what the service refuses is thrown as its code over %s', async (transport) => {
  const server = await testServer();
  const client = clientOf(server, transport);
  const { id } = await client.execute({ prompt: 'hi' });
  const last = (await read(client, id)).length;
  await expect(read(client, '01890a5d-ac96-774b-bcce-b302099a8057')).rejects.toMatchObject({ code: 'not_found' });
  await expect(read(client, id, last + 10)).rejects.toMatchObject({ code: 'cursor_in_future' });
  expect(await read(client, id, last)).toEqual([]);
  const stranger = connectServer({ url: server.url, key: 'wrong', transport });
  await expect(read(stranger, id)).rejects.toMatchObject({ code: 'unauthenticated' });
});

it('calls do what they say', async () => {
  const server = await testServer({ script: [{ kind: 'deltas', count: 2000, text: 'word ', deltaEveryMs: 20 }] });
  const client = clientOf(server);
  const { id } = await client.execute({ prompt: 'hi', metadata: { a: 'b' } });
  for await (const batch of client.events(id, { after: 0 })) {
    if (batch.some(({ type }) => type === 'claude.delta')) break;
  }
  expect(await client.pause(id)).toMatchObject({ state: 'paused' });
  expect(await client.resume(id)).toMatchObject({ state: 'running' });
  expect(await client.input(id, 'and more')).toMatchObject({ id });
  await expect(client.delete(id)).rejects.toMatchObject({ code: 'conflict' });
  expect((await client.cancel(id)).cancelRequestedAt).not.toBeNull();
  expect((await read(client, id)).at(-1)?.type).toBe('execution.finished');
  await expect(client.pause(id)).rejects.toMatchObject({ code: 'conflict', data: { state: 'finished' } });
  expect((await client.list({ limit: 10, outcome: 'cancelled' })).executions.map((found) => found.id)).toEqual([id]);
  await client.delete(id);
  await expect(client.get(id)).rejects.toMatchObject({ code: 'not_found' });
});

it('one idempotency key is one run', async () => {
  const client = clientOf(await testServer());
  const { id } = await client.execute({ prompt: 'hi', idempotencyKey: 'k' });
  expect((await client.execute({ prompt: 'hi', idempotencyKey: 'k' })).id).toBe(id);
  await expect(client.execute({ prompt: 'other', idempotencyKey: 'k' })).rejects.toMatchObject({
    code: 'idempotency_conflict',
  });
});

it('whether a service answers is told without a key', async () => {
  const server = await testServer();
  expect(await answersAt(server.url)).toBe(true);
  await server.stop();
  expect(await answersAt(server.url)).toBe(false);
});
