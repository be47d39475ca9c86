import { readFile, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { resetServiceKey } from '../../src/bin/open-keys.ts';
import { loadConfig } from '../../src/config.ts';
import { type TestServer, testServer } from '../support/server.ts';

const status = async (url: string, headers: Record<string, string> = {}, init: RequestInit = {}): Promise<number> =>
  (await fetch(url, { ...init, headers })).status;

const basic = (key: string): string => `Basic ${Buffer.from(`me:${key}`).toString('base64')}`;

describe('the key', () => {
  test('opens as Bearer and as x-api-key, and nothing else opens', async () => {
    const { url, key } = await testServer();
    const list = `${url}/v1/executions`;
    expect(await status(list, { authorization: `Bearer ${key}` })).toBe(200);
    expect(await status(list, { authorization: `bearer  ${key}` })).toBe(200);
    expect(await status(list, { 'x-api-key': key })).toBe(200);
    const wrong = [key.slice(0, -1), `${key}x`, key.toUpperCase(), 'cck_0000000000000000_x', '', 'undefined'];
    for (const presented of wrong) expect(await status(list, { authorization: `Bearer ${presented}` })).toBe(401);
    expect(await status(list, { authorization: key })).toBe(401);
  });

  test('is the password of a browser where nothing changes, and nowhere else', async () => {
    const { url, key } = await testServer();
    const authorization = basic(key);
    for (const path of ['/docs', '/v1/openapi.json', '/v1/openrpc.json']) {
      expect(await status(url + path, { authorization })).toBe(200);
      expect(await status(url + path, { authorization: basic('wrong') })).toBe(401);
    }
    expect(await status(`${url}/v1/executions`, { authorization })).toBe(401);
    const body = JSON.stringify({ prompt: 'x' });
    const headers = { authorization, 'content-type': 'application/json' };
    expect(await status(`${url}/v1/executions`, headers, { method: 'POST', body })).toBe(401);
  });

  test('is made once by two services that start on one folder, is kept as a hash, and lies in a file of its owner', async () => {
    const first = await testServer();
    const second = await testServer({ folder: first.folder });
    expect(second.key).toBe(first.key);
    expect((await second.call('/v1/executions')).status).toBe(200);
    expect((await stat(`${first.folder}/data/key`)).mode & 0o777).toBe(0o600);
    const store = await readFile(`${first.folder}/data/store.sqlite`);
    const log = await readFile(`${first.folder}/data/store.sqlite-wal`);
    expect(Buffer.concat([store, log]).includes(first.key)).toBe(false);
  });

  test('is replaced by a new one while the service runs', async () => {
    const { url, key, folder, call } = await testServer();
    const reset = await resetServiceKey(loadConfig({ HOME: folder, CC_DATA_DIR: `${folder}/data` }));
    expect((await call('/v1/executions')).status).toBe(401);
    expect(await status(`${url}/v1/executions`, { 'x-api-key': reset })).toBe(200);
    expect((await readFile(`${folder}/data/key`, 'utf8')).trim()).toBe(reset);
    expect(reset).not.toBe(key);
  });

  test('of the operator’s own choice opens, and one that is too short stops the start', async () => {
    const own = 'a key of the operator, 32 characters';
    const { url } = await testServer({ env: { CC_API_KEY: own.replaceAll(' ', '-') }, key: own });
    expect(await status(`${url}/v1/executions`, { 'x-api-key': own.replaceAll(' ', '-') })).toBe(200);
    expect(() => loadConfig({ CC_API_KEY: 'short' })).toThrow('CC_API_KEY is shorter than 32 characters');
  });

  test('is not asked for by what says whether the service lives, which tells no more than that without it', async () => {
    const { url, call } = await testServer({ env: { CLAUDE_BIN: '/nowhere/claude' } });
    expect(await (await fetch(`${url}/health`)).json()).toEqual({ status: 'broken' });
    expect(await status(`${url}/health/live`)).toBe(200);
    expect(await status(`${url}/health/ready`)).toBe(503);
    const { checks } = await (await call('/health')).json();
    expect(checks).toMatchObject({ claude: { ok: false, detail: expect.stringContaining('/nowhere/claude') } });
  });
});

/** `fetch` sets Origin and Host itself. */
function statusFrom({ url, key }: TestServer, headers: Record<string, string>): Promise<number | undefined> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const sent = request({
      host: hostname,
      port,
      path: '/v1/executions',
      headers: { authorization: `Bearer ${key}`, ...headers },
    });
    sent.on('error', reject);
    sent.on('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.end();
  });
}

describe('pages', () => {
  test('of the service itself and of the origins that are named may call; others may not, whatever key they have', async () => {
    const server = await testServer({ env: { CC_ALLOWED_ORIGINS: 'https://app.example' } });
    const { host } = new URL(server.url);
    expect(await statusFrom(server, { origin: 'https://app.example' })).toBe(200);
    expect(await statusFrom(server, { origin: `http://${host}` })).toBe(200);
    for (const origin of ['https://evil.example', 'https://app.example.evil', 'http://app.example', 'null']) {
      expect([origin, await statusFrom(server, { origin })]).toEqual([origin, 403]);
    }
  });

  test('ask before they call, and are told what they may send', async () => {
    const { url } = await testServer({ env: { CC_ALLOWED_ORIGINS: 'https://app.example' } });
    const ask = (origin: string) =>
      fetch(`${url}/v1/executions`, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
      });
    const allowed = await ask('https://app.example');
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect(allowed.headers.get('access-control-allow-headers')).toContain('authorization');
    expect((await ask('https://evil.example')).headers.get('access-control-allow-origin')).toBeNull();
  });

  test('behind a proxy are of the host that it names, if the proxy is trusted', async () => {
    const headers = { origin: 'https://executor.example', 'x-forwarded-host': 'executor.example' };
    expect(await statusFrom(await testServer({ env: { CC_TRUST_PROXY: '127.0.0.1' } }), headers)).toBe(200);
    expect(await statusFrom(await testServer(), headers)).toBe(403);
    expect(await statusFrom(await testServer({ env: { CC_TRUST_PROXY: '10.0.0.0/8' } }), headers)).toBe(403);
  });
});

test.each([
  ['CC_ALLOWED_ORIGINS', 'https://example.org/', 'an origin is scheme://host'],
  ['CC_TRUST_PROXY', 'nginx', 'off, on, or addresses'],
  ['CC_PORT', '70000', 'CC_PORT'],
  ['CC_URL', 'localhost:8000', 'is not an http or https URL'],
])('%s=%s stops the start, saying what it must be', (name, value, text) => {
  expect(() => loadConfig({ [name]: value })).toThrow(text);
});
