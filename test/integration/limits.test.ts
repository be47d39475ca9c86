import { describe, expect, test } from 'vitest';
import { has } from '../support/capabilities.ts';
import { fakeClaude } from '../support/processes.ts';
import { redisServer } from '../support/redis-server.ts';
import { rpcClient } from '../support/rpc-client.ts';
import { callsTo, type TestServer, testServer } from '../support/server.ts';

const STALLING = { CLAUDE_BIN: fakeClaude('stalls'), CC_MAX_CONCURRENT: '8' };
const limited = (limits: Record<string, string>): Promise<TestServer> =>
  testServer({ env: { ...STALLING, ...limits } });

test('a limit is refused with 429 and Retry-After at every door, in the same words', async () => {
  const server = await limited({ CC_LIMIT_CONCURRENT_RUNS: '1' });
  const { id } = await server.submit({ prompt: 'x' });
  const plain = await server.call('/v1/executions', { json: { prompt: 'x' } });
  const waiting = await server.call('/v1/execute', { json: { prompt: 'x' } });
  const streaming = await server.call('/v1/execute', {
    json: { prompt: 'x' },
    headers: { accept: 'text/event-stream' },
  });
  const detail =
    'This key may have 1 executions that have not finished (concurrentRuns), and has them; wait for one to end, or cancel one';
  for (const answer of [plain, waiting, streaming]) {
    expect(answer.status).toBe(429);
    expect(answer.headers.get('retry-after')).toBe('5');
    expect(await answer.json()).toMatchObject({ code: 'too_many', detail, retryAfterMs: 5_000 });
  }
  const client = await rpcClient(server.url, { key: server.key });
  expect(await client.call('execute', { prompt: 'x' })).toMatchObject({
    error: { code: 1021, message: detail, data: { code: 'too_many', retryable: true, retryAfterMs: 5_000 } },
  });
  await server.call(`/v1/executions/${id}/cancel`, { method: 'POST' });
  await server.stream(id);
  await server.submit({ prompt: 'x' });
});

test('starts count over the end of a service, and repeated ones once', async () => {
  const server = await limited({ CC_LIMIT_STARTS_PER_MINUTE: '2' });
  await server.submit({ prompt: 'x' });
  await server.submit({ prompt: 'x', idempotencyKey: 'k' });
  await server.submit({ prompt: 'x', idempotencyKey: 'k' });
  await server.stop();
  const next = await testServer({ env: { ...STALLING, CC_LIMIT_STARTS_PER_MINUTE: '2' }, folder: server.folder });
  const refused = await next.call('/v1/executions', { json: { prompt: 'x' } });
  expect(await refused.json()).toMatchObject({ code: 'too_many' });
});

test('a key’s own limits win over the usual ones, hold for its tokens too, and for no other key', async () => {
  const server = await limited({ CC_LIMIT_CONCURRENT_RUNS: '5' });
  const wanted = { name: 'k', tenant: 'team', scopes: ['executions:write'], limits: { concurrentRuns: 2 } };
  const { key } = await (await server.call('/v1/keys', { json: wanted })).json();
  const team = callsTo(server.url, key);
  const { token } = await (await team.call('/v1/auth/token', { json: {} })).json();
  await team.submit({ prompt: 'x' });
  await callsTo(server.url, token).submit({ prompt: 'x' });
  for (const caller of [team, callsTo(server.url, token)]) {
    const refused = await caller.call('/v1/executions', { json: { prompt: 'x' } });
    expect(await refused.json()).toMatchObject({ status: 429, detail: expect.stringMatching(/may have 2 executions/) });
  }
  for (let time = 0; time < 5; time += 1) await server.submit({ prompt: 'x' });
});

test('bytes of uploads, of requests and of input count together', async () => {
  const server = await limited({ CC_LIMIT_BYTES_PER_DAY: '10000' });
  const upload = (bytes: number) =>
    server.call('/v1/workspaces/w/files/f', {
      method: 'PUT',
      body: 'x'.repeat(bytes),
      headers: { 'content-type': 'text/plain' },
    });
  expect((await upload(9_000)).status).toBe(201);
  const { id } = await server.submit({ prompt: 'x' });
  const over = await upload(1_000);
  expect(over.status).toBe(429);
  expect(Number(over.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await over.json()).toMatchObject({
    code: 'quota_exceeded',
    detail: expect.stringMatching(/10000 bytes a day/),
  });
  expect((await server.call(`/v1/executions/${id}/input`, { json: { text: 'x'.repeat(1_000) } })).status).toBe(429);
  expect((await server.call('/v1/executions', { json: { prompt: 'x'.repeat(1_000) } })).status).toBe(429);
  const chunked = await fetch(`${server.url}/v1/workspaces/w/files/f`, {
    method: 'PUT',
    body: new Blob(['x']).stream(),
    headers: { authorization: `Bearer ${server.key}` },
    duplex: 'half',
  });
  expect(await chunked.json()).toMatchObject({ code: 'invalid_request', errors: [{ path: 'content-length' }] });
});

test('wrong keys are slowed down at both doors together, and the right one has to wait too', async () => {
  const server = await testServer({ env: { CC_LIMIT_WRONG_KEYS: '3' } });
  const wrong = { headers: { authorization: 'Bearer cck_wrong' } };
  for (let time = 0; time < 2; time += 1) expect((await server.call('/v1/executions', wrong)).status).toBe(401);
  for (let time = 0; time < 5; time += 1) expect((await fetch(`${server.url}/v1/executions`)).status).toBe(401);
  const socket = await rpcClient(server.url);
  expect(await socket.call('authenticate', { key: 'wrong' })).toMatchObject({
    error: { data: { code: 'unauthenticated' } },
  });
  const refused = await server.call('/v1/executions', {});
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(50);
  expect(await refused.json()).toMatchObject({ code: 'too_many' });
  expect((await server.call('/health')).status).toBe(200);
  const other = await rpcClient(server.url);
  expect(await other.call('authenticate', { key: server.key })).toMatchObject({
    error: { data: { code: 'too_many' } },
  });
  expect((await other.closed).code).toBe(4430);
});

describe.runIf(has('redis'))('with a redis-server', () => {
  test('two nodes count starts and wrong keys together', async () => {
    const { url } = await redisServer();
    const env = {
      ...STALLING,
      REDIS_URL: url,
      CC_API_KEY: 'k'.repeat(32),
      CC_LIMIT_STARTS_PER_MINUTE: '2',
      CC_LIMIT_WRONG_KEYS: '4',
    };
    const key = 'k'.repeat(32);
    const nodes = [await testServer({ env, key }), await testServer({ env, key })] as const;
    await nodes[0].submit({ prompt: 'x' });
    await nodes[1].submit({ prompt: 'x' });
    for (const node of nodes) {
      expect((await node.call('/v1/executions', { json: { prompt: 'x' } })).status).toBe(429);
    }
    const wrong = { headers: { authorization: 'Bearer wrong' } };
    for (let time = 0; time < 3; time += 1) await nodes[0].call('/v1/executions', wrong);
    expect((await nodes[1].call('/v1/executions', wrong)).status).toBe(401);
    expect((await nodes[1].call('/v1/executions', wrong)).status).toBe(429);
  });
});
