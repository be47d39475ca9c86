import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';
import type { GatewayCredential } from '../../src/model-gateway/gateway-headers.ts';
import type { ModelCall } from '../../src/model-gateway/model-call.ts';
import type { ModelGateway } from '../../src/model-gateway/model-gateway.ts';
import { startModelGateway } from '../../src/model-gateway/model-gateway.ts';
import type { Script, ScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { gatewayRun } from '../support/gateway-run.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) {
    await close();
  }
});

interface Setup {
  model: ScriptedModel;
  gateway: ModelGateway;
  token: string;
  calls: ModelCall[];
  /** The statuses that the credential was told of. */
  witnessed: number[];
}

async function setup(
  script: Script,
  options: { credential?: GatewayCredential; maxBudgetUsd?: number; expected?: string } = {},
): Promise<Setup> {
  const model = await startScriptedModel({ script, ...(options.expected && { credential: options.expected }) });
  closing.push(() => model.close());
  const witnessed: number[] = [];
  const credential: GatewayCredential = {
    ...(options.credential ?? { kind: 'api_key', current: async () => 'sk-real' }),
    witness: ({ status }) => witnessed.push(status),
  };
  const gateway = await startModelGateway({
    upstream: model.url,
    listen: { host: '127.0.0.1', port: 0 },
  });
  closing.push(() => gateway.close());
  const token = gateway.issueToken();
  const calls: ModelCall[] = [];
  const budget = options.maxBudgetUsd === undefined ? {} : { maxBudgetUsd: options.maxBudgetUsd };
  gateway.attach(token, gatewayRun({ credential, ...budget, onCall: (call) => calls.push(call) }));
  return { model, gateway, token, calls, witnessed };
}

const BODY = JSON.stringify({ model: 'claude-sonnet-5-5', messages: [{ role: 'user', content: 'hi' }] });

function ask(gateway: ModelGateway, token: string): Promise<Response> {
  return fetch(`${gateway.baseUrl}/v1/messages`, { method: 'POST', headers: { 'x-api-key': token }, body: BODY });
}

/** Sends bytes as they are, and returns the status line's number. */
async function raw(gateway: ModelGateway, head: string[], body = BODY): Promise<number> {
  const socket = connect(Number(new URL(gateway.baseUrl).port), '127.0.0.1');
  await once(socket, 'connect');
  const lines = [...head, 'host: gateway.invalid', `content-length: ${Buffer.byteLength(body)}`, 'connection: close'];
  socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`);
  return Number((await text(socket)).split(' ')[1]);
}

test('a token that is unknown, missing, not yet attached or detached is 401 and not worth a retry', async () => {
  const { gateway, model, token } = await setup([{ kind: 'text', text: 'ok' }]);
  for (const presented of ['ccr_unknown', '', gateway.issueToken(), 'sk-real']) {
    const response = await ask(gateway, presented);
    expect([response.status, response.headers.get('x-should-retry')]).toEqual([401, 'false']);
  }
  gateway.detach(token);
  expect((await ask(gateway, token)).status).toBe(401);
  expect(model.requests).toHaveLength(0);
});

test('tokens are long, random and free of meaning, and one serves a single run at a time', async () => {
  const { gateway, token } = await setup([{ kind: 'text', text: 'ok' }]);
  expect(token).toMatch(/^ccr_[\w-]{32}$/);
  expect(new Set(Array.from({ length: 1000 }, () => gateway.issueToken())).size).toBe(1000);
  expect(() => gateway.attach(token, gatewayRun({ executionId: 'e2' }))).toThrow('detach it first');
  gateway.detach(token);
  const second: ModelCall[] = [];
  gateway.attach(token, gatewayRun({ executionId: 'e2', onCall: (call) => second.push(call) }));
  await (await ask(gateway, token)).text();
  await expect.poll(() => second).toMatchObject([{ executionId: 'e2' }]);
});

test.each([
  ...[
    '/v1/messages/../messages',
    '//v1/messages',
    '/v1/messages/',
    '/v1/%6dessages',
    '/v1/messages%2f..',
    '/v1/Messages',
  ],
  ...[
    '/v1/messages/../../api/oauth/profile',
    '/v1/messages;x',
    '/v1/messages#x',
    '/v1/messages/batches',
    '/v1/models',
    '*',
  ],
  ...['http://127.0.0.1/v1/messages', 'http://evil.invalid/v1/messages', '/v1/messages\\..\\x', '/'],
])('the path %s is 404', async (path) => {
  const { gateway, model, token } = await setup([{ kind: 'text', text: 'ok' }]);
  expect(await raw(gateway, [`POST ${path} HTTP/1.1`, `x-api-key: ${token}`])).toBe(404);
  expect(model.requests).toHaveLength(0);
});

test.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'])('%s is 404', async (method) => {
  const { gateway, token } = await setup([{ kind: 'text', text: 'ok' }]);
  expect(await raw(gateway, [`${method} /v1/messages HTTP/1.1`, `x-api-key: ${token}`], '')).toBe(404);
});

test('credential headers in odd case or twice never reach the upstream', async () => {
  const { gateway, model, token } = await setup([{ kind: 'text', text: 'ok' }]);
  const good = ['POST /v1/messages HTTP/1.1', `X-API-KEY: ${token}`];
  expect(await raw(gateway, [...good, `AUTHORIZATION: bEARER ${token}`, `x-Api-Key: ${token}`])).toBe(200);
  expect(await raw(gateway, [...good, 'Connection: x-api-key, anthropic-version', 'Proxy-Authorization: x'])).toBe(200);
  expect(await raw(gateway, [...good, 'x-api-key: sk-mine'])).toBe(401);
  expect(await raw(gateway, [...good, 'authorization: Bearer sk-mine'])).toBe(401);
  expect(await raw(gateway, [...good, 'transfer-encoding: chunked'])).toBe(400);
  expect(model.requests).toHaveLength(2);
  for (const seen of model.requests) {
    expect(seen.headers['x-api-key']).toBe('sk-real');
    expect([seen.headers.authorization, seen.headers['proxy-authorization']]).toEqual([undefined, undefined]);
  }
});

test('a request over 64 MiB is 413 and does not reach the upstream', async () => {
  const { gateway, model, token, calls } = await setup([{ kind: 'text', text: 'ok' }]);
  const response = await fetch(`${gateway.baseUrl}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': token },
    body: Buffer.alloc(64 * 1024 * 1024 + 1, 32),
  });
  expect([response.status, await response.json()]).toMatchObject([413, { error: { type: 'request_too_large' } }]);
  expect(model.requests).toHaveLength(0);
  await expect.poll(() => calls).toMatchObject([{ status: 413 }]);
});

test.each([401, 403])('an upstream %i is passed on as not worth a retry, recorded and reported', async (status) => {
  const { gateway, token, calls, witnessed } = await setup([{ kind: 'http_error', status, message: 'no such key' }]);
  const response = await ask(gateway, token);
  expect([response.status, response.headers.get('x-should-retry')]).toEqual([status, 'false']);
  expect(await response.json()).toMatchObject({ error: { message: 'no such key' } });
  await expect.poll(() => calls).toMatchObject([{ status, refusal: 'credential' }]);
  expect(witnessed).toEqual([status]);
});

test('a credential that cannot be had is 401 with its reason', async () => {
  const current = () => Promise.reject(new Error('The login has expired. Run `claude`.'));
  const { gateway, token, calls, witnessed } = await setup([{ kind: 'text', text: 'ok' }], {
    credential: { kind: 'max', current },
  });
  const response = await ask(gateway, token);
  expect([response.status, await response.text()]).toEqual([401, expect.stringContaining('Run `claude`.')]);
  await expect.poll(() => calls).toMatchObject([{ status: 401, refusal: 'credential' }]);
  expect(witnessed).toEqual([401]);
});

test('a 401 is answered by one refresh and one more try of the same request', async () => {
  let secret = 'old';
  const rejected: string[] = [];
  const credential: GatewayCredential = {
    kind: 'max',
    current: async () => secret,
    refresh: async (given) => {
      rejected.push(given);
      secret = 'new';
    },
  };
  const { gateway, model, token, witnessed } = await setup([{ kind: 'text', text: 'fresh' }], {
    credential,
    expected: 'new',
  });
  const response = await ask(gateway, token);
  expect([response.status, await response.text()]).toEqual([200, expect.stringContaining('fresh')]);
  expect(model.requests.map((seen) => seen.headers.authorization)).toEqual(['Bearer old', 'Bearer new']);
  expect(model.requests[1]?.body).toEqual(JSON.parse(BODY));
  expect([rejected, witnessed]).toEqual([['old'], [200]]);
});

test('a refresh that fails, or brings the same token, passes the 401 on after one try', async () => {
  for (const refresh of [() => Promise.reject(new Error('refused')), () => Promise.resolve()]) {
    const credential: GatewayCredential = { kind: 'max', current: async () => 'old', refresh };
    const { gateway, model, token } = await setup([{ kind: 'text', text: 'ok' }], { credential, expected: 'new' });
    expect((await ask(gateway, token)).status).toBe(401);
    expect(model.requests).toHaveLength(1);
  }
});

test('over the budget a call is 402 before it is made', async () => {
  const { gateway, model, token, calls } = await setup(
    [{ kind: 'text', text: 'ok', usage: { inputTokens: 500_000 } }],
    {
      maxBudgetUsd: 1.5,
    },
  );
  await (await ask(gateway, token)).text();
  await (await ask(gateway, token)).text();
  const refused = await ask(gateway, token);
  expect([refused.status, refused.headers.get('x-should-retry')]).toEqual([402, 'false']);
  expect(await refused.json()).toMatchObject({ type: 'error', error: { type: 'billing_error' } });
  expect(model.requests).toHaveLength(2);
  await expect
    .poll(() => calls.map((call) => [call.status, call.refusal]))
    .toEqual([
      [200, null],
      [200, null],
      [402, 'budget'],
    ]);
});

test('a call under way counts with what is known of it', async () => {
  const { gateway, token } = await setup([{ kind: 'stall', when: 'mid_stream', usage: { inputTokens: 600_000 } }], {
    maxBudgetUsd: 1,
  });
  const leaving = new AbortController();
  const first = await fetch(`${gateway.baseUrl}/v1/messages`, {
    ...{ method: 'POST', headers: { 'x-api-key': token }, signal: leaving.signal },
    body: JSON.stringify({ ...JSON.parse(BODY), stream: true }),
  });
  await expect.poll(() => gateway.spentUsd(token)).toBeGreaterThan(1);
  expect((await ask(gateway, token)).status).toBe(402);
  leaving.abort();
  await expect(first.text()).rejects.toThrow();
});
