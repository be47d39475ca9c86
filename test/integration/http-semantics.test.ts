// promise: P1 P11 P12
import { once } from 'node:events';
import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { newId } from '../../src/protocol/ids.ts';
import { eventsIn, type TestServer, testServer } from '../support/server.ts';

const SLOW = [{ kind: 'deltas' as const, count: 2_000, text: 'word ', deltaEveryMs: 20 }];
const JSON_HEADERS = { 'content-type': 'application/json' };

async function started({ submit, get }: TestServer, request: Parameters<TestServer['submit']>[0] = { prompt: 'x' }) {
  const { id } = await submit(request);
  await expect.poll(async () => (await get(id)).cli, { timeout: 15_000 }).not.toBeNull();
  return id;
}

const outcomeOf = ({ get }: TestServer, id: string) =>
  expect.poll(async () => (await get(id)).outcome?.kind, { timeout: 15_000 });

describe('acceptance', () => {
  test('what was accepted is stored: a new service on the folder knows it', async () => {
    const first = await testServer({ script: SLOW });
    const { id } = await first.submit({ prompt: 'x' });
    await first.stop();
    const second = await testServer({ folder: first.folder });
    await outcomeOf(second, id).toMatch(/succeeded|cancelled/);
  });

  test('the first event of every log is execution.queued with seq 1', async () => {
    const server = await testServer();
    const { id } = await server.run({ prompt: 'x' });
    expect(eventsIn(await server.stream(id))[0]?.slice(0, 2)).toEqual([1, 'execution.queued']);
  });
});

describe('idempotency', () => {
  test('the same key and request is the same execution, by header and by field, on both routes', async () => {
    const { call } = await testServer();
    const headers = { 'idempotency-key': 'k' };
    const first = await (await call('/v1/executions', { json: { prompt: 'x' }, headers })).json();
    const byField = await call('/v1/executions', { json: { prompt: 'x', idempotencyKey: 'k' } });
    expect([byField.status, (await byField.json()).id]).toEqual([202, first.id]);
    const waited = await call('/v1/execute', { json: { prompt: 'x' }, headers });
    expect([waited.status, await waited.json()]).toMatchObject([200, { id: first.id, state: 'finished' }]);
  });

  test('the same key with another request is refused', async () => {
    const { call } = await testServer();
    const headers = { 'idempotency-key': 'k' };
    await call('/v1/executions', { json: { prompt: 'x' }, headers });
    const other = await call('/v1/executions', { json: { prompt: 'y' }, headers });
    expect([other.status, (await other.json()).code]).toEqual([409, 'idempotency_conflict']);
  });

  test('a header and a field that differ are refused', async () => {
    const { call } = await testServer();
    const json = { prompt: 'x', idempotencyKey: 'a' };
    const response = await call('/v1/executions', { json, headers: { 'idempotency-key': 'b' } });
    expect([response.status, (await response.json()).errors[0].path]).toEqual([400, 'idempotencyKey']);
  });

  test('a storm of one request with one key is one execution', async () => {
    const { call } = await testServer();
    const submit = async () =>
      (await (await call('/v1/executions', { json: { prompt: 'x', idempotencyKey: 'storm' } })).json()).id;
    const ids = await Promise.all(Array.from({ length: 200 }, submit));
    expect(new Set(ids).size).toBe(1);
  });
});

describe('cursors', () => {
  test('one ahead of the log is 400 with the last seq, as page and as stream', async () => {
    const { call, run } = await testServer();
    const { id, lastSeq } = await run({ prompt: 'x' });
    for (const accept of ['application/json', 'text/event-stream']) {
      const response = await call(`/v1/executions/${id}/events?after=${lastSeq + 1}`, { headers: { accept } });
      expect([response.status, await response.json()]).toMatchObject([400, { code: 'cursor_in_future', lastSeq }]);
    }
  });

  test('one at the end of a finished log is 204 for a stream, and an empty last page', async () => {
    const { call, run } = await testServer();
    const { id, lastSeq } = await run({ prompt: 'x' });
    const path = `/v1/executions/${id}/events?after=${lastSeq}`;
    expect((await call(path, { headers: { accept: 'text/event-stream' } })).status).toBe(204);
    expect(await (await call(path)).json()).toEqual({ events: [], nextAfter: lastSeq, finished: true });
  });

  test('Last-Event-ID wins over the query', async () => {
    const { call, run } = await testServer();
    const { id, lastSeq } = await run({ prompt: 'x' });
    const headers = { accept: 'text/event-stream', 'last-event-id': String(lastSeq - 1) };
    const text = await (await call(`/v1/executions/${id}/events?after=0`, { headers })).text();
    expect(eventsIn(text).map(([seq]) => seq)).toEqual([lastSeq]);
  });

  test('a long poll answers with the first events that come, and with none when its time is over', async () => {
    const server = await testServer({ script: SLOW });
    const id = await started(server);
    const { lastSeq } = await server.get(id);
    const poll = async (after: number, waitMs: number) =>
      (await server.call(`/v1/executions/${id}/events?after=${after}&waitMs=${waitMs}`)).json();
    const page = await poll(lastSeq, 10_000);
    expect(page.events[0].seq).toBe(lastSeq + 1);
    await server.call(`/v1/executions/${id}/pause`, { method: 'POST' });
    const { lastSeq: paused } = await server.get(id);
    expect(await poll(paused, 50)).toEqual({ events: [], nextAfter: paused, finished: false });
  });
});

describe('control', () => {
  test('cancel answers at once with the time it was asked, and a queued run is cancelled without starting', async () => {
    const server = await testServer({ script: SLOW, env: { CC_MAX_CONCURRENT: '1' } });
    await started(server);
    const waiting = await server.submit({ prompt: 'y' });
    expect((await server.get(waiting.id)).queuePosition).toBe(1);
    const answer = await (await server.call(`/v1/executions/${waiting.id}/cancel`, { method: 'POST' })).json();
    expect(answer.cancelRequestedAt).not.toBeNull();
    await outcomeOf(server, waiting.id).toBe('cancelled');
    expect(await server.get(waiting.id)).toMatchObject({ startedAt: null, cli: null });
  });

  test.each(['pause', 'resume', 'input'])(
    '%s of a finished execution is a conflict that names the state',
    async (verb) => {
      const { call, run } = await testServer();
      const { id } = await run({ prompt: 'x' });
      const json = verb === 'input' ? { text: 'more' } : {};
      const response = await call(`/v1/executions/${id}/${verb}`, { json });
      expect([response.status, await response.json()]).toMatchObject([409, { code: 'conflict', state: 'finished' }]);
    },
  );

  test('deleting an execution that runs is a conflict that names the state', async () => {
    const server = await testServer({ script: SLOW });
    const id = await started(server);
    const response = await server.call(`/v1/executions/${id}`, { method: 'DELETE' });
    expect([response.status, await response.json()]).toMatchObject([409, { code: 'conflict', state: 'running' }]);
  });

  test('an input is a further turn of the same run, after which the run ends', async () => {
    const script = [
      { kind: 'deltas' as const, count: 40, text: 'one ', deltaEveryMs: 20 },
      { kind: 'text' as const, text: 'two' },
    ];
    const server = await testServer({ script });
    const id = await started(server);
    expect((await server.call(`/v1/executions/${id}/input`, { json: { text: 'And the second' } })).status).toBe(200);
    await outcomeOf(server, id).toBe('succeeded');
    expect(await server.get(id)).toMatchObject({ result: { text: 'two', turns: 2 } });
    const prompts = server.model.requests.map(({ body }) => JSON.stringify(body));
    expect(prompts.filter((body) => body.includes('And the second'))).toHaveLength(1);
  });
});

describe('cancelOnDisconnect', () => {
  test('on /v1/executions it is refused, because there is no connection to be bound to', async () => {
    const { call } = await testServer();
    const response = await call('/v1/executions', { json: { prompt: 'x', cancelOnDisconnect: true } });
    expect([response.status, (await response.json()).errors[0].path]).toEqual([400, 'cancelOnDisconnect']);
  });

  test.each([
    [true, 'cancelled'],
    [false, 'succeeded'],
  ])('%s: a client that goes away leaves a run that ends as %s', async (cancelOnDisconnect, outcome) => {
    const server = await testServer({ script: [{ kind: 'deltas', count: 60, text: 'word ', deltaEveryMs: 20 }] });
    const { port } = new URL(server.url);
    const headers = { ...JSON_HEADERS, authorization: `Bearer ${server.key}` };
    const sent = request({ port, method: 'POST', path: '/v1/execute', headers });
    sent.on('error', () => {});
    sent.end(JSON.stringify({ prompt: 'x', cancelOnDisconnect }));
    const list = async () => (await (await server.call('/v1/executions')).json()).executions;
    await expect.poll(async () => (await list())[0]?.cli, { timeout: 15_000 }).toEqual({ version: expect.any(String) });
    sent.destroy();
    await outcomeOf(server, (await list())[0].id).toBe(outcome);
  });

  test('a service that ends does not count as a client that went away', async () => {
    const server = await testServer({ script: SLOW, env: { CC_DRAIN_MS: '60000' } });
    const headers = { accept: 'text/event-stream' };
    const json = { prompt: 'x', cancelOnDisconnect: true };
    const response = await server.call('/v1/execute', { json, headers });
    const reader = response.body?.getReader();
    const id = response.headers.get('location')?.split('/').at(-1) ?? '';
    await expect.poll(async () => (await server.get(id)).cli).not.toBeNull();
    await reader?.read();
    server.server.stop({ force: false });
    await expect.poll(async () => (await fetch(`${server.url}/health/ready`)).status).toBe(503);
    expect(await server.get(id)).toMatchObject({ state: 'running', cancelRequestedAt: null });
  });
});

describe('admission', () => {
  test('a full queue is 503 with Retry-After, and what waits says where it stands', async () => {
    const server = await testServer({ script: SLOW, env: { CC_MAX_CONCURRENT: '1', CC_QUEUE_LIMIT: '2' } });
    await started(server);
    const first = await server.submit({ prompt: 'a' });
    const second = await server.submit({ prompt: 'b', priority: 60 });
    expect((await server.get(second.id)).queuePosition).toBe(1);
    expect((await server.get(first.id)).queuePosition).toBe(2);
    const refused = await server.call('/v1/executions', { json: { prompt: 'c' } });
    expect([refused.status, (await refused.json()).code]).toEqual([503, 'queue_full']);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test('a full queue gives who asks again with the same key the execution of the first time', async () => {
    const server = await testServer({ script: SLOW, env: { CC_MAX_CONCURRENT: '1', CC_QUEUE_LIMIT: '1' } });
    await started(server);
    const waiting = await server.submit({ prompt: 'a', idempotencyKey: 'k' });
    expect((await server.submit({ prompt: 'a', idempotencyKey: 'k' })).id).toBe(waiting.id);
    const other = await server.call('/v1/executions', { json: { prompt: 'b', idempotencyKey: 'k' } });
    expect([other.status, (await other.json()).code]).toEqual([409, 'idempotency_conflict']);
    expect((await server.call('/v1/executions', { json: { prompt: 'b' } })).status).toBe(503);
  });

  test('runs of one workspace go one after the other, in order', async () => {
    const server = await testServer({ script: [{ kind: 'text', text: 'ok', beforeHeadersMs: 300 }] });
    const ids = [];
    for (const prompt of ['1', '2', '3']) ids.push((await server.submit({ prompt, workspace: 'shared' })).id);
    const ends = [];
    for (const id of ids) {
      await outcomeOf(server, id).toBe('succeeded');
      ends.push(await server.get(id));
    }
    for (const [index, next] of ends.slice(1).entries()) {
      expect(Date.parse(next.startedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(ends[index]?.finishedAt ?? ''));
    }
  });

  test('a capability that is not built yet is 501, and an unknown field is named with its path', async () => {
    const { call } = await testServer();
    const unbuilt = await call('/v1/executions', { json: { prompt: 'x', approvals: 'ask' } });
    expect([unbuilt.status, (await unbuilt.json()).code]).toEqual([501, 'not_implemented']);
    const unknown = await call('/v1/executions', { json: { prompt: 'x', retry: { max: 1, often: true }, nope: 1 } });
    expect((await unknown.json()).errors.map(({ path }: { path: string }) => path).sort()).toEqual([
      'nope',
      'retry.often',
    ]);
  });
});

describe('draining', () => {
  test('readers are told, new tasks are refused, runs end by themselves, and what waits stays for the next start', async () => {
    const script = [{ kind: 'deltas' as const, count: 60, text: 'word ', deltaEveryMs: 20 }];
    const server = await testServer({ script, env: { CC_DRAIN_MS: '60000', CC_MAX_CONCURRENT: '1' } });
    const id = await started(server);
    const waiting = await server.submit({ prompt: 'later' });
    const stream = server.stream(id);
    server.server.stop({ force: false });
    const refused = await server.call('/v1/executions', { json: { prompt: 'c' } });
    expect([refused.status, (await refused.json()).code]).toEqual([503, 'shutting_down']);
    expect(refused.headers.get('retry-after')).not.toBeNull();
    const text = await stream;
    expect(text).toContain('event: server.draining\n');
    expect(eventsIn(text).at(-1)?.[1]).toBe('execution.finished');
    await server.server.ended;
    const next = await testServer({ folder: server.folder });
    await outcomeOf(next, waiting.id).toBe('succeeded');
    expect(await next.get(id)).toMatchObject({ outcome: { kind: 'succeeded' } });
  });

  test('forced, it ends its runs at once, and says so in their outcome', async () => {
    const server = await testServer({ script: SLOW, env: { CC_DRAIN_MS: '60000' } });
    const id = await started(server);
    const stream = server.stream(id);
    server.server.stop({ force: false });
    server.server.stop({ force: true });
    await server.server.ended;
    expect((await stream).length).toBeGreaterThan(0);
    const next = await testServer({ folder: server.folder });
    expect((await next.get(id)).outcome).toMatchObject({
      kind: 'cancelled',
      message: expect.stringContaining('shut down'),
    });
  });
});

test('a port that is taken is refused in plain words', async () => {
  const { url } = await testServer();
  const { port } = new URL(url);
  await expect(testServer({ env: { CC_PORT: port } })).rejects.toMatchObject({ code: 'address_unusable' });
});

test('an id that nothing has, of whatever form, is 404 on every route that takes one', async () => {
  const { call } = await testServer();
  for (const id of [
    newId(),
    'x',
    '%00',
    '%2e%2e%2f',
    'a'.repeat(200),
    '%F0%9F%92%A9',
    "'; DROP TABLE executions; --",
  ]) {
    for (const [path, init] of [
      ['', {}],
      ['', { method: 'DELETE' }],
      ['/events', {}],
      ['/events', { headers: { accept: 'text/event-stream' } }],
      ['/output', {}],
      ['/cancel', { method: 'POST' }],
      ['/input', { json: { text: 'x' } }],
    ] as const) {
      const response = await call(`/v1/executions/${id}${path}`, init);
      expect([id, path, response.status, (await response.json()).code]).toEqual([id, path, 404, 'not_found']);
    }
  }
});

test('an execution whose workspace is written into all the while is deleted all the same', async () => {
  const server = await testServer();
  for (let round = 0; round < 5; round += 1) {
    const { id, workspace } = await server.run({ prompt: 'x' });
    const write = (name: number) =>
      server.call(`/v1/workspaces/${workspace}/files/deep/${name}`, { method: 'PUT', body: 'x' });
    const writing = Promise.all(Array.from({ length: 100 }, (_, name) => write(name)));
    expect((await server.call(`/v1/executions/${id}`, { method: 'DELETE' })).status).toBe(204);
    for (const { status } of await writing) expect([200, 201, 404, 409]).toContain(status);
    expect((await server.call(`/v1/executions/${id}`)).status).toBe(404);
  }
});

test('HEAD of an event stream that goes on is answered at once', async () => {
  const server = await testServer({ script: SLOW });
  const id = await started(server);
  const headers = { accept: 'text/event-stream' };
  const response = await server.call(`/v1/executions/${id}/events`, { method: 'HEAD', headers });
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
});

test('the connection of a client that hangs up in the middle of a stream leaves nothing behind', async () => {
  const server = await testServer({ script: SLOW });
  const id = await started(server);
  const { port } = new URL(server.url);
  const headers = { accept: 'text/event-stream', authorization: `Bearer ${server.key}` };
  for (let index = 0; index < 20; index += 1) {
    const sent = request({ port, path: `/v1/executions/${id}/events`, headers });
    sent.on('error', () => {});
    sent.end();
    const [response] = await once(sent, 'response');
    await once(response, 'data');
    sent.destroy();
  }
  expect((await server.get(id)).state).toBe('running');
});
