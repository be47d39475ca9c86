import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import type { ModelCall } from '../../src/model-gateway/model-call.ts';
import type { ModelGateway, ModelGatewayOptions } from '../../src/model-gateway/model-gateway.ts';
import { startModelGateway } from '../../src/model-gateway/model-gateway.ts';
import type { GatewayRun } from '../../src/model-gateway/run-account.ts';
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
}

async function setup(
  script: Script,
  { run = {}, ...options }: Partial<ModelGatewayOptions> & { run?: Partial<GatewayRun> } = {},
): Promise<Setup> {
  const model = await startScriptedModel({ script });
  closing.push(() => model.close());
  const gateway = await startModelGateway({
    upstream: model.url,
    listen: { host: '127.0.0.1', port: 0 },
    ...options,
  });
  closing.push(() => gateway.close());
  const token = gateway.issueToken();
  const calls: ModelCall[] = [];
  gateway.attach(token, gatewayRun({ ...run, onCall: (call) => calls.push(call) }));
  return { model, gateway, token, calls };
}

function ask(url: string, token: string, body: Record<string, unknown> = {}): Promise<Response> {
  return fetch(`${url}/v1/messages?beta=true`, {
    method: 'POST',
    headers: { 'x-api-key': token, 'anthropic-beta': 'a' },
    body: JSON.stringify({
      model: 'claude-sonnet-5-5',
      stream: true,
      messages: [{ role: 'user', content: 'hi' }],
      ...body,
    }),
  });
}

test('a call goes up with the real key and comes back as it was, and is recorded', async () => {
  const usage = {
    inputTokens: 1000,
    outputTokens: 100,
    cacheReadTokens: 10,
    cacheCreation5mTokens: 20,
    cacheCreation1hTokens: 30,
  };
  const { model, gateway, token, calls } = await setup([
    {
      kind: 'text',
      text: 'Hello there',
      usage,
      headers: { 'request-id': 'req_1', 'anthropic-ratelimit-unified-status': 'allowed' },
    },
  ]);
  const response = await ask(gateway.baseUrl, token);
  expect(await response.text()).toContain('Hello there');
  expect(response.headers.get('anthropic-ratelimit-unified-status')).toBe('allowed');
  const [seen] = model.requests;
  expect(seen?.path).toBe('/v1/messages?beta=true');
  expect(seen?.headers).toMatchObject({ 'x-api-key': 'sk-real', 'anthropic-beta': 'a' });
  expect(JSON.stringify(seen)).not.toContain(token);
  await expect.poll(() => calls).toHaveLength(1);
  expect(calls[0]).toMatchObject({
    ...{ executionId: 'e1', path: '/v1/messages', requestId: 'req_1', status: 200, model: 'claude-sonnet-5-5' },
    ...{ usage, estimated: false, stopReason: 'end_turn', refusal: null, end: 'complete' },
  });
  expect(calls[0]?.costUsd).toBeCloseTo((1000 * 2 + 100 * 10 + 10 * 0.1 + 20 * 2.5 + 30 * 4) / 1e6, 12);
  expect(gateway.spentUsd(token)).toBe(calls[0]?.costUsd);
});

test('a Max token goes up as a bearer with the OAuth beta', async () => {
  const { model, gateway, token } = await setup([{ kind: 'text', text: 'ok' }], {
    run: { credential: { kind: 'max', current: async () => 'sk-max' } },
  });
  await (await ask(gateway.baseUrl, token)).text();
  expect(model.requests[0]?.headers).toMatchObject({
    authorization: 'Bearer sk-max',
    'anthropic-beta': 'a,oauth-2025-04-20',
  });
  expect(model.requests[0]?.headers['x-api-key']).toBeUndefined();
});

test('an answer that is not streamed is metered too, and count_tokens costs nothing', async () => {
  const { gateway, token, calls } = await setup([
    { kind: 'text', text: 'ok', usage: { inputTokens: 500, outputTokens: 1 } },
  ]);
  await (await ask(gateway.baseUrl, token, { stream: false })).json();
  const counted = await fetch(`${gateway.baseUrl}/v1/messages/count_tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ model: 'claude-sonnet-5-5', messages: [{ role: 'user', content: 'hi' }] }),
  });
  expect(counted.status).toBe(200);
  await expect.poll(() => calls).toHaveLength(2);
  expect(calls.map((call) => [call.path, call.costUsd])).toEqual([
    ['/v1/messages', (500 * 2 + 10) / 1e6],
    ['/v1/messages/count_tokens', 0],
  ]);
});

test('an upstream with a path in front keeps it', async () => {
  const paths: (string | undefined)[] = [];
  const upstream = createServer((incoming, response) => {
    paths.push(incoming.url);
    incoming.resume();
    response.end('{}');
  });
  await once(upstream.listen(0, '127.0.0.1'), 'listening');
  closing.push(async () => upstream.close());
  const { port } = z.object({ port: z.int() }).parse(upstream.address());
  const { gateway, token } = await setup([{ kind: 'text', text: '' }], {
    upstream: `http://127.0.0.1:${port}/proxy/claude/`,
  });
  await (await ask(gateway.baseUrl, token)).text();
  expect(paths).toEqual(['/proxy/claude/v1/messages?beta=true']);
});

test.each([
  [
    429,
    { 'retry-after': '7', 'anthropic-ratelimit-unified-status': 'rejected', 'anthropic-ratelimit-requests-limit': '5' },
  ],
  [529, { 'x-should-retry': 'true', 'request-id': 'req_1' }],
])('a refusal of the upstream with %d comes back as it was, with its headers', async (status, headers) => {
  const { gateway, token, calls } = await setup([{ kind: 'http_error', status, message: 'its own words', headers }]);
  const response = await ask(gateway.baseUrl, token);
  expect(response.status).toBe(status);
  expect(Object.fromEntries(response.headers)).toMatchObject(headers);
  expect(await response.json()).toMatchObject({ error: { message: 'its own words' } });
  await expect.poll(() => calls).toMatchObject([{ status, refusal: null, detail: null, costUsd: 0 }]);
});

test('a unix socket serves the same runs, is private, and replaces the one a killed service left', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'cc-gw-'));
  closing.push(() => rm(directory, { recursive: true }));
  const path = join(directory, 'm.sock');
  const { gateway, token } = await setup([{ kind: 'text', text: 'by socket' }], { listen: { path } });
  expect(gateway.baseUrl).toBe('http://gateway.invalid');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const second = join(directory, 'second.sock');
  const closeSecond = await gateway.openSocket(second);
  for (const socketPath of [path, second]) {
    const agent = new Agent({ connect: { socketPath } });
    const response = await request('http://gateway.invalid/v1/messages', {
      ...{ dispatcher: agent, method: 'POST', headers: { 'x-api-key': token } },
      body: JSON.stringify({ model: 'claude-sonnet-5-5', messages: [{ role: 'user', content: 'hi' }] }),
    });
    expect(await response.body.text()).toContain('by socket');
    await agent.close();
  }
  await closeSecond();
  await expect(stat(second)).rejects.toThrow('ENOENT');
});

test('an upstream that cannot be reached is a 502 that may be tried again', async () => {
  const { gateway, token, calls } = await setup([{ kind: 'text', text: '' }], { upstream: 'http://127.0.0.1:9' });
  const response = await ask(gateway.baseUrl, token);
  expect([response.status, response.headers.get('x-should-retry')]).toEqual([502, null]);
  expect(await response.json()).toMatchObject({ type: 'error', error: { type: 'api_error' } });
  await expect.poll(() => calls).toMatchObject([{ status: 502, end: 'upstream_failed', costUsd: 0 }]);
});

test('an upstream behind a proxy is reached through it alone: http by its full URL, https by a tunnel', async () => {
  const asked: string[] = [];
  const proxy = createServer((incoming, response) => {
    asked.push(`${incoming.method} ${incoming.url} ${incoming.headers['x-api-key']}`);
    incoming.resume();
    response.end('{"through":"the proxy"}');
  });
  proxy.on('connect', (incoming, socket) => {
    asked.push(`${incoming.method} ${incoming.url} ${incoming.headers['x-api-key']}`);
    socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  closing.push(async () => {
    proxy.close();
    proxy.closeAllConnections();
  });
  const { port } = z.object({ port: z.int() }).parse(proxy.address());
  const url = `http://127.0.0.1:${port}`;
  const script: Script = [{ kind: 'text', text: '' }];
  const byHttp = await setup(script, { upstream: 'http://model.invalid', proxy: { httpProxy: url } });
  expect(await (await ask(byHttp.gateway.baseUrl, byHttp.token)).json()).toEqual({ through: 'the proxy' });
  const byHttps = await setup(script, { upstream: 'https://model.invalid', proxy: { httpsProxy: url } });
  expect((await ask(byHttps.gateway.baseUrl, byHttps.token)).status).toBe(502);
  expect(asked).toEqual([
    'POST http://model.invalid/v1/messages?beta=true sk-real',
    'CONNECT model.invalid:443 undefined',
  ]);
});
