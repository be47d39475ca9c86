import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ERRORS, type ErrorCode } from '../../src/protocol/errors.ts';
import { newId } from '../../src/protocol/ids.ts';
import { rpcClient } from '../support/rpc-client.ts';
import { eventsIn, testServer } from '../support/server.ts';

test('HTTP and JSON-RPC refuse the same things with the same code, and each with its own number for it', async () => {
  const server = await testServer();
  const client = await rpcClient(server.url, { key: server.key });
  const { id, lastSeq } = await server.run({ prompt: 'x', idempotencyKey: 'k' });
  const get = (path: string) => server.call(`/v1/executions/${path}`);
  const post = (path: string, json: unknown) => server.call(`/v1/executions/${path}`, { json });
  const submit = (json: unknown) => server.call('/v1/executions', { json });
  const pairs: [ErrorCode, () => ReturnType<typeof get>, string, unknown][] = [
    ['invalid_request', () => submit({}), 'execute', {}],
    ['invalid_request', () => submit({ prompt: 'x', nope: 1 }), 'execute', { prompt: 'x', nope: 1 }],
    [
      'invalid_request',
      () => submit({ prompt: 'x', workspace: 'lent:none' }),
      'execute',
      { prompt: 'x', workspace: 'lent:none' },
    ],
    ['not_implemented', () => submit({ prompt: 'x', checks: [] }), 'execute', { prompt: 'x', checks: [] }],
    ['not_found', () => submit({ prompt: 'x', sessionId: newId() }), 'execute', { prompt: 'x', sessionId: newId() }],
    [
      'idempotency_conflict',
      () => submit({ prompt: 'y', idempotencyKey: 'k' }),
      'execute',
      { prompt: 'y', idempotencyKey: 'k' },
    ],
    ['not_found', () => get('nothing'), 'executions.get', { executionId: 'nothing' }],
    ['not_found', () => post(`${newId()}/cancel`, {}), 'control', { executionId: newId(), action: 'cancel' }],
    ['conflict', () => post(`${id}/pause`, {}), 'control', { executionId: id, action: 'pause' }],
    ['conflict', () => post(`${id}/input`, { text: 'x' }), 'input', { executionId: id, text: 'x' }],
    ['invalid_request', () => post(`${id}/input`, {}), 'input', { executionId: id }],
    [
      'cursor_in_future',
      () => get(`${id}/events?after=${lastSeq + 1}`),
      'subscribe',
      { executionId: id, after: lastSeq + 1 },
    ],
    ['invalid_request', () => get(`${id}/events?after=-1`), 'subscribe', { executionId: id, after: -1 }],
    ['invalid_request', () => server.call('/v1/executions?limit=0'), 'executions.list', { limit: 0 }],
  ];
  for (const [code, overHttp, method, params] of pairs) {
    const response = await overHttp();
    const problem = await response.json();
    const { error } = await client.call(method, params);
    const { http, rpc, retryable } = ERRORS[code];
    expect([method, response.status, problem.code]).toEqual([method, http, code]);
    expect([method, error.code, error.data.code, error.data.retryable]).toEqual([method, rpc, code, retryable]);
    expect(error.data.errors).toEqual(problem.errors);
  }
});

test('the same key and request is the same execution at every door', async () => {
  const server = await testServer();
  const client = await rpcClient(server.url, { key: server.key });
  const overHttp = await server.submit({ prompt: 'x', idempotencyKey: 'k' });
  const overSocket = (await client.call('execute', { prompt: 'x', idempotencyKey: 'k' })).result;
  const again = (await client.call('execute', { prompt: 'x', idempotencyKey: 'k' })).result;
  expect([overSocket.id, again.id]).toEqual([overHttp.id, overHttp.id]);
  await client.frame(({ method }) => method === 'subscription.closed');
  const seqs = client.events(overHttp.id).map((text) => JSON.parse(text).seq);
  expect(seqs).toEqual(seqs.map((_, index) => index + 1));
});

test('a cursor before what is kept is 410 with the first seq that is left, at every door', async () => {
  const first = await testServer({ script: [{ kind: 'huge_text', bytes: 3 * 1024 * 1024 }] });
  const { id, lastSeq } = await first.run({ prompt: 'x' });
  await first.stop();
  const server = await testServer({ folder: first.folder, env: { CC_RETENTION_BYTES: String(1024 * 1024) } });
  const cut = { code: 'truncated_before', firstSeq: lastSeq };
  await expect.poll(async () => (await server.call(`/v1/executions/${id}/events`)).status).toBe(410);
  for (const accept of ['application/json', 'text/event-stream']) {
    const response = await server.call(`/v1/executions/${id}/events?after=1`, { headers: { accept } });
    expect([response.status, await response.json()]).toMatchObject([410, cut]);
  }
  const client = await rpcClient(server.url, { key: server.key });
  const { error } = await client.call('subscribe', { executionId: id, after: 1 });
  expect(error).toMatchObject({ code: ERRORS.truncated_before.rpc, data: cut });
  expect(eventsIn(await server.stream(id, lastSeq - 1)).map(([seq]) => seq)).toEqual([lastSeq]);
  expect(await server.get(id)).toMatchObject({ state: 'finished', lastSeq });
});

describe('a reader of an event stream that stops reading', () => {
  test('is let go, and goes on from its last event when it comes back', async () => {
    const server = await testServer({ script: [{ kind: 'huge_text', bytes: 24 * 1024 * 1024 }] });
    const { id } = await server.run({ prompt: 'x' });
    const headers = { accept: 'text/event-stream', authorization: `Bearer ${server.key}` };
    const sent = request(`${server.url}/v1/executions/${id}/events`, { headers });
    sent.on('error', () => {});
    sent.end();
    const [response]: IncomingMessage[] = await once(sent, 'response');
    if (response === undefined) throw new Error('there was no response');
    response.on('error', () => {});
    // Not reading for longer than the service bears is what this reader does; there is nothing to wait for.
    await delay(12_000);
    let text = '';
    response.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    await new Promise((resolve) => response.on('close', resolve));
    const before = eventsIn(text);
    expect(before.at(-1)?.[1]).not.toBe('execution.finished');
    const after = eventsIn(await server.stream(id, before.at(-1)?.[0] ?? 0));
    const whole = eventsIn(await server.stream(id));
    expect([...before, ...after]).toEqual(whole);
  });
});
