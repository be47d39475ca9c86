import { describe, expect, test } from 'vitest';
import type { MethodName } from '../../src/protocol/rpc-methods.ts';
import { type BuiltServer, builtServer } from '../support/built-server.ts';
import { type RpcClient, rpcClient } from '../support/rpc-client.ts';
import { eventsIn } from '../support/server.ts';

const SLOW = [{ kind: 'deltas' as const, count: 2_000, text: 'word ', deltaEveryMs: 20 }];

type Check = (client: RpcClient, server: BuiltServer) => Promise<void>;

const finished = ({ frame }: RpcClient) => frame(({ method }) => method === 'subscription.closed');

async function started({ call, frame }: RpcClient): Promise<string> {
  const { result } = await call('execute', { prompt: 'Take your time' });
  await frame(({ params }) => params?.type === 'execution.started');
  return result.id;
}

/** One test at least for every method of the table: a method without one does not compile. */
const METHODS = {
  authenticate: async ({ call }, { url, key }) => {
    expect((await call('authenticate', { key })).result).toEqual({ authenticated: true });
    const late = await rpcClient(url);
    expect((await late.call('authenticate', { key })).result).toEqual({ authenticated: true });
    expect((await late.call('ping')).result.time).toMatch(/^\d{4}-/);
  },
  execute: async (client, { stream }) => {
    const { result } = await client.call('execute', { prompt: 'Say hello' });
    expect((await finished(client)).params).toMatchObject({ executionId: result.id, reason: 'finished' });
    const log = eventsIn(await stream(result.id)).map(([, , data]) => data);
    expect(client.events(result.id)).toEqual(log);
    const kinds = client.frames.map((text) => JSON.parse(text).method ?? 'answer');
    expect(kinds.indexOf('answer')).toBe(0);
  },
  subscribe: async (client, { run }) => {
    const { id, lastSeq } = await run({ prompt: 'Say hello' });
    const { result } = await client.call('subscribe', { executionId: id, after: lastSeq - 2 });
    expect(result).toEqual({ executionId: id, after: lastSeq - 2 });
    await finished(client);
    expect(client.events(id).map((text) => JSON.parse(text).seq)).toEqual([lastSeq - 1, lastSeq]);
    const ahead = await client.call('subscribe', { executionId: id, after: lastSeq + 1 });
    expect(ahead.error).toMatchObject({ code: 1001, data: { code: 'cursor_in_future', lastSeq } });
  },
  unsubscribe: async (client) => {
    const executionId = await started(client);
    const { result } = await client.call('unsubscribe', { executionId });
    const seqs = client.events(executionId).map((text) => JSON.parse(text).seq);
    expect(result).toEqual({ executionId, lastSeq: seqs.at(-1) });
    await client.call('control', { executionId, action: 'pause' });
    await client.call('ping');
    expect(client.events(executionId)).toHaveLength(seqs.length);
  },
  control: async (client) => {
    const executionId = await started(client);
    const act = async (action: string) => (await client.call('control', { executionId, action })).result;
    expect((await act('pause')).state).toBe('paused');
    expect((await act('resume')).state).toBe('running');
    expect((await act('cancel')).cancelRequestedAt).not.toBeNull();
    await finished(client);
    const { error } = await client.call('control', { executionId, action: 'pause' });
    expect(error).toMatchObject({ code: 1003, data: { code: 'conflict', state: 'finished' } });
  },
  input: async (client) => {
    const executionId = await started(client);
    expect((await client.call('input', { executionId, text: 'And this' })).result).toMatchObject({ id: executionId });
    await client.call('control', { executionId, action: 'cancel' });
    await finished(client);
    expect((await client.call('input', { executionId, text: 'x' })).error.data.code).toBe('conflict');
  },
  'executions.get': async ({ call }, { run }) => {
    const { id } = await run({ prompt: 'Say hello' });
    expect((await call('executions.get', { executionId: id })).result).toMatchObject({ id, state: 'finished' });
    expect((await call('executions.get', [id])).result).toMatchObject({ id });
    expect((await call('executions.get', { executionId: 'x' })).error).toMatchObject({ code: 1002 });
    expect((await call('executions.get', { executionId: 7 })).error).toMatchObject({ code: -32602 });
  },
  'executions.list': async ({ call }, { run }) => {
    const { id } = await run({ prompt: 'Say hello' });
    expect((await call('executions.list')).result).toMatchObject({ executions: [{ id }], nextCursor: null });
    expect((await call('executions.list', { state: 'running' })).result.executions).toEqual([]);
  },
  'rpc.discover': async ({ call }) => {
    expect((await call('rpc.discover')).result).toMatchObject({ openrpc: expect.stringMatching(/^1\./) });
  },
  ping: async ({ call }) => {
    expect((await call('ping')).result.time).toMatch(/Z$/);
  },
} satisfies Record<MethodName, Check>;

const NEEDS_TIME = new Set(['unsubscribe', 'control', 'input']);

describe('every method does what its summary says', () => {
  test.each(Object.entries(METHODS))('%s', async (name, check) => {
    const server = await builtServer(NEEDS_TIME.has(name) ? { script: SLOW } : {});
    await check(await rpcClient(server.url, { key: server.key }), server);
  });
});

test('the examples of the JSON-RPC specification that need no method of their own are answered to the letter', async () => {
  const { url, key } = await builtServer();
  const client = await rpcClient(url, { key });
  const answer = async (request: string): Promise<string> => {
    const before = client.frames.length;
    client.send(request);
    await expect.poll(() => client.frames.length).toBe(before + 1);
    return client.frames.at(-1) ?? '';
  };
  const parseError = '{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}';
  const invalid = '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}';
  const unknown = (id: string) =>
    `{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":${JSON.stringify(id)}}`;
  expect(await answer('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}')).toBe(unknown('1'));
  expect(await answer('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]')).toBe(parseError);
  expect(await answer('{"jsonrpc": "2.0", "method": 1, "params": "bar"}')).toBe(invalid);
  expect(
    await answer('[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]'),
  ).toBe(parseError);
  expect(await answer('[]')).toBe(invalid);
  expect(await answer('[1]')).toBe(`[${invalid}]`);
  expect(await answer('[1,2,3]')).toBe(`[${invalid},${invalid},${invalid}]`);
  // Notifications are not answered, alone or in a batch: the next answer is that of the call behind them.
  client.send('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}');
  client.send('[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},{"jsonrpc": "2.0", "method": "foobar"}]');
  expect(await answer('{"jsonrpc": "2.0", "method": "foobar", "id": "2"}')).toBe(unknown('2'));
});

describe('who may connect', () => {
  test('a wrong key, no key before the first call, and a foreign origin are closed with their codes', async () => {
    const { url, key } = await builtServer();
    expect((await (await rpcClient(url, { key: 'wrong' })).closed).code).toBe(4401);
    const hasty = await rpcClient(url);
    hasty.send('{"jsonrpc":"2.0","method":"ping","id":1}');
    expect((await hasty.closed).code).toBe(4401);
    const foreign = await rpcClient(url, { key, headers: { origin: 'https://evil.example' } });
    expect((await foreign.closed).code).toBe(4403);
  });

  test('a browser presents its key as a subprotocol, which is not given back', async () => {
    const { url, key } = await builtServer({ env: { CC_ALLOWED_ORIGINS: 'https://app.example' } });
    const protocols = ['cc-executor.v1', `cc-executor.key.${key}`];
    const client = await rpcClient(url, { protocols, headers: { origin: 'https://app.example' }, path: '/ws' });
    expect(client.socket.protocol).toBe('cc-executor.v1');
    expect((await client.call('ping')).result.time).toMatch(/Z$/);
  });

  test('a client that presents no key in time is closed with 4408', async () => {
    const { url } = await builtServer();
    expect((await (await rpcClient(url)).closed).code).toBe(4408);
  });
});

test('a batch is answered before the first event of what it started', async () => {
  const { url, key } = await builtServer();
  const client = await rpcClient(url, { key });
  client.send(
    '[{"jsonrpc":"2.0","method":"execute","params":{"prompt":"x"},"id":1},{"jsonrpc":"2.0","method":"ping","id":2}]',
  );
  await finished(client);
  expect(JSON.parse(client.frames[0] ?? '').map(({ id }: { id: number }) => id)).toEqual([1, 2]);
  expect(JSON.parse(client.frames[1] ?? '')).toMatchObject({ method: 'event', params: { seq: 1 } });
});

test('a run that a connection is bound to is cancelled with it, and any other goes on', async () => {
  const { url, key, get } = await builtServer({ script: SLOW });
  const client = await rpcClient(url, { key });
  const bound = (await client.call('execute', { prompt: 'x', cancelOnDisconnect: true })).result.id;
  const free = (await client.call('execute', { prompt: 'y' })).result.id;
  await client.frame(({ params }) => params?.type === 'execution.started' && params.executionId === free);
  client.socket.terminate();
  await expect.poll(async () => (await get(bound)).outcome?.kind, { timeout: 15_000 }).toBe('cancelled');
  expect((await get(free)).cancelRequestedAt).toBeNull();
});

test('a service that ends tells its clients, says where each stream ended, and closes with 1001', async () => {
  const { url, key, end } = await builtServer({ script: SLOW, env: { CC_DRAIN_MS: '300' } });
  const client = await rpcClient(url, { key });
  const executionId = await started(client);
  const ended = end('SIGTERM');
  expect((await client.frame(({ method }) => method === 'server.draining')).params).toEqual({ drainMs: 300 });
  expect((await client.closed).code).toBe(1001);
  const seqs = client.events(executionId).map((text) => JSON.parse(text).seq);
  expect(seqs).toEqual(seqs.map((_, index) => index + 1));
  const last = JSON.parse(client.frames.findLast((text) => text.includes('subscription.closed')) ?? '{}');
  expect(last.params).toMatchObject({ executionId, lastSeq: seqs.at(-1) });
  expect((await ended).code).toBe(0);
});
