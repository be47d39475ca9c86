import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { doorFixture, Peer, until } from '../support/linked-socket.ts';
import { principalWith } from '../support/principals.ts';
import { rpcClient } from '../support/rpc-client.ts';
import { callsTo, eventsIn, type TestServer, testServer } from '../support/server.ts';

/** One request by hand, because `fetch` joins headers and sets some itself. */
function send({ url }: TestServer, path: string, headers: string[]): Promise<{ status: number; body: string }> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const sent = request({ host: hostname, port, path, headers });
    sent.on('error', reject);
    sent.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.end();
  });
}

async function tokenOf({ call }: Pick<TestServer, 'call'>, wanted: object = {}): Promise<string> {
  return (await (await call('/v1/auth/token', { json: wanted })).json()).token;
}

/** A token of a key that ends in two seconds, and with it. */
async function shortToken(server: TestServer): Promise<string> {
  const expiresAt = new Date(Date.now() + 2_500).toISOString();
  const made = await server.call('/v1/keys', { json: { name: 'short', scopes: ['admin'], expiresAt } });
  return tokenOf(callsTo(server.url, (await made.json()).key));
}

const FINISHED = [{ kind: 'text' as const, text: 'Hello' }];
const SLOW = [{ kind: 'deltas' as const, count: 2_000, text: 'word ', deltaEveryMs: 20 }];

describe('a key in the URL', () => {
  test('is refused with what to do, whatever it is called and whether it is right, and is not repeated', async () => {
    const server = await testServer();
    const token = await tokenOf(server);
    const queries = [
      ...['key', 'api_key', 'apiKey', 'x-api-key', 'token', 'access_token', 'authorization', 'jwt', 'password'].map(
        (name) => `${name}=${server.key}`,
      ),
      ...[`limit=${server.key}`, `state=${token}`, `${server.key}=1`, `cursor=sk-ant-oat01-abcdefgh`],
      ...[`limit=1&limit=1&TOKEN=x`, `state=Bearer%20${server.key}`],
    ];
    for (const query of queries) {
      for (const path of [`/v1/executions?${query}`, `/health?${query}`, `/docs?${query}`, `/nowhere?${query}`]) {
        const { status, body } = await send(server, path, ['host', 'localhost']);
        expect([query, status, JSON.parse(body)]).toMatchObject([query, 400, { code: 'invalid_request' }]);
        expect(body).toContain('send it as Authorization: Bearer KEY or x-api-key: KEY');
        expect(body.includes(server.key) || body.includes(token) || body.includes('oat01')).toBe(false);
      }
    }
  });

  test('is refused by the WebSocket before it opens', async () => {
    const { url, key } = await testServer();
    for (const path of [`/v1/ws?token=${key}`, `/ws?x=${key}`]) {
      await expect(rpcClient(url, { path })).rejects.toThrow('Unexpected server response: 400');
    }
  });
});

test('two keys in one request are refused, right or wrong, and one given twice alike', async () => {
  const server = await testServer();
  const { key } = server;
  const bearer = `Bearer ${key}`;
  const host = ['host', 'localhost'];
  const status = async (...headers: string[]) => (await send(server, '/v1/executions', [...host, ...headers])).status;
  expect(await status('authorization', bearer, 'authorization', bearer)).toBe(400);
  expect(await status('authorization', 'Bearer x', 'authorization', bearer)).toBe(400);
  expect(await status('x-api-key', key, 'x-api-key', key)).toBe(400);
  expect(await status('x-api-key', 'x', 'authorization', bearer)).toBe(400);
  expect(await status('x-api-key', key, 'authorization', bearer)).toBe(200);
  expect(await status('x-api-key', key, 'authorization', 'Basic eDp5')).toBe(200);
  const protocols = ['cc-executor.v1', `cc-executor.key.${key}`, `bearer.${await tokenOf(server)}`];
  await expect(rpcClient(server.url, { protocols })).rejects.toThrow('Unexpected server response: 400');
});

describe('a service that asks for no key', () => {
  test('takes the names of this machine alone, and still refuses a key that is wrong', async () => {
    const server = await testServer({ env: { CC_AUTH: 'off' } });
    const { port } = new URL(server.url);
    const status = async (...headers: string[]) => (await send(server, '/v1/executions', headers)).status;
    for (const name of ['localhost', `localhost:${port}`, '127.0.0.1', `[::1]:${port}`]) {
      expect([name, await status('host', name)]).toEqual([name, 200]);
    }
    for (const name of ['evil.example', `evil.example:${port}`, 'localhost.evil.example', '127.0.0.1.evil.example']) {
      expect([name, await status('host', name)]).toEqual([name, 403]);
    }
    expect(await status('host', 'localhost', 'x-api-key', 'wrong')).toBe(401);
    expect(await status('host', 'localhost', 'x-api-key', server.key)).toBe(200);
    expect(await status('host', 'localhost', 'origin', 'https://evil.example')).toBe(403);
    const client = await rpcClient(server.url);
    expect((await client.call('executions.list')).result.executions).toEqual([]);
    expect(server.server.lines.join('\n')).toContain('NONE IS ASKED FOR');
  });

  test('does not start where others reach it, also when only the command line says so', async () => {
    const off = { CC_AUTH: 'off', CC_HOST: '0.0.0.0' };
    await expect(testServer({ env: off })).rejects.toThrow(/CC_AUTH is off.*Set CC_AUTH=on, or CC_HOST=127\.0\.0\.1/s);
  });
});

describe('a WebSocket', () => {
  test('is opened by a token in a header, in a subprotocol, or by authenticate, within the scopes of it', async () => {
    const server = await testServer();
    const token = await tokenOf(server, { scopes: ['executions:read'] });
    const late = await rpcClient(server.url);
    expect((await late.call('authenticate', { key: token })).result).toEqual({ authenticated: true });
    const protocols = ['cc-executor.v1', `bearer.${token}`];
    for (const client of [
      late,
      await rpcClient(server.url, { key: token }),
      await rpcClient(server.url, { protocols }),
    ]) {
      expect((await client.call('executions.list')).result.executions).toEqual([]);
      const { error } = await client.call('execute', { prompt: 'x' });
      expect(error).toMatchObject({ code: 1024, data: { code: 'forbidden', scope: 'executions:write' } });
      expect((await client.call('ping')).result).toBeDefined();
    }
  });

  test('of a token that has ended is closed with 4401, and its subscriptions are told; a fresh token keeps it', async () => {
    const server = await testServer({ script: SLOW });
    const short = await shortToken(server);
    const [ending, renewed] = [
      await rpcClient(server.url, { key: short }),
      await rpcClient(server.url, { key: short }),
    ];
    const { id } = (await ending.call('execute', { prompt: 'x' })).result;
    const fresh = await tokenOf(server);
    expect((await renewed.call('authenticate', { key: fresh })).result).toEqual({ authenticated: true });
    expect((await ending.closed).code).toBe(4401);
    const last = JSON.parse(ending.frames.at(-1) ?? '');
    expect(last).toMatchObject({
      method: 'subscription.closed',
      params: { executionId: id, reason: 'unauthenticated' },
    });
    expect((await renewed.call('executions.get', { executionId: id })).result.state).toBe('running');
  });

  test('does not change its tenant', async () => {
    const server = await testServer();
    const { key } = await (
      await server.call('/v1/keys', { json: { name: 'k', tenant: 'acme', scopes: ['admin'] } })
    ).json();
    const client = await rpcClient(server.url, { key });
    expect((await client.call('authenticate', { key: server.key })).error.data.code).toBe('conflict');
    expect((await client.call('executions.list')).result.executions).toEqual([]);
  });

  test('is closed with 4401 soon after its key was revoked, and stays while nobody can say', async () => {
    const { door } = await doorFixture();
    let standing: () => Promise<boolean> = async () => {
      throw new Error('the store is away');
    };
    let asked = 0;
    const stands = (): Promise<boolean> => {
      asked += 1;
      return standing();
    };
    const callers = { verify: async () => principalWith({ stands }) };
    const peer = new Peer({ ...door, callers }, { key: 'any', limits: { askEveryMs: 5 } });
    await until(() => asked > 3, 'it is asked again and again');
    expect(peer.socket.closed).toBeUndefined();
    standing = async () => false;
    expect(await peer.closeCode()).toBe(4401);
    const before = asked;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(asked).toBe(before);
  });
});

test('an event stream ends with the token that opened it, and goes on with a fresh one', async () => {
  const server = await testServer({ script: SLOW });
  const { id } = await server.submit({ prompt: 'x' });
  const short = await shortToken(server);
  const read = eventsIn(await callsTo(server.url, short).stream(id));
  expect(read.at(-1)?.[1]).not.toBe('execution.finished');
  expect((await callsTo(server.url, short).call(`/v1/executions/${id}`)).status).toBe(401);
  const { events } = await (
    await server.call(`/v1/executions/${id}/events?after=${read.length}&limit=1&waitMs=5000`)
  ).json();
  expect(events[0].seq).toBe(read.length + 1);
});

test('health tells the operator what it depends on, and all others no more than a status', async () => {
  const server = await testServer({ script: FINISHED });
  const keyOf = async (wanted: object): Promise<string> =>
    (await (await server.call('/v1/keys', { json: { name: 'k', ...wanted } })).json()).key;
  const keys = [
    await keyOf({ tenant: 'acme', scopes: ['admin'] }),
    await keyOf({ scopes: ['executions:read'] }),
    await tokenOf(server, { scopes: ['executions:read'] }),
  ];
  for (const path of ['/health', '/health/ready']) {
    expect(await (await server.call(path)).json()).toHaveProperty('checks');
    for (const key of keys) expect(await (await callsTo(server.url, key).call(path)).json()).toEqual({ status: 'ok' });
  }
});
