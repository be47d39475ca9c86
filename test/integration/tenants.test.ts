import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { HTTP_ROUTES, type RouteName } from '../../src/protocol/http-routes.ts';
import { newId } from '../../src/protocol/ids.ts';
import { type MethodName, RPC_METHODS } from '../../src/protocol/rpc-methods.ts';
import { rpcClient } from '../support/rpc-client.ts';
import { type Calls, callsTo, type TestServer, testServer } from '../support/server.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** What one tenant has, by what names it; or names of the same length that nobody has. */
interface Names {
  running: string;
  finished: string;
  session: string;
  workspace: string;
  lent: string;
  key: string;
}

interface Asked {
  path: string;
  json?: unknown;
  body?: string;
  headers?: Record<string, string>;
}

type Case = 'names nothing of a tenant' | ((names: Names) => Asked[]);

const NOTHING = 'names nothing of a tenant';
const STREAM = { accept: 'text/event-stream' };

/** Both, so that no state tells them apart. */
const ofEach =
  (path: (id: string) => string, more: Omit<Asked, 'path'> = {}) =>
  (names: Names) =>
    [names.running, names.finished].map((id) => ({ path: path(id), ...more }));
const onEach = (rest = '', more: Omit<Asked, 'path'> = {}) => ofEach((id) => `/v1/executions/${id}${rest}`, more);
const inWorkspaces =
  (rest: string, more: Omit<Asked, 'path'> = {}) =>
  (names: Names) =>
    [names.workspace, names.finished, names.lent].map((name) => ({ path: `/v1/workspaces/${name}${rest}`, ...more }));

/** A case for every route: a new one without a case does not compile. */
const ROUTES = {
  execute: ({ session, lent }) => [
    { path: '/v1/execute', json: { prompt: 'x', sessionId: session } },
    { path: '/v1/execute', json: { prompt: 'x', workspace: lent } },
    { path: '/v1/execute', json: { prompt: 'x', sessionId: session }, headers: STREAM },
  ],
  createExecution: ({ session, lent }) => [
    { path: '/v1/executions', json: { prompt: 'x', sessionId: session } },
    { path: '/v1/executions', json: { prompt: 'x', workspace: lent } },
  ],
  listExecutions: ({ session, running }) => [
    { path: `/v1/executions?sessionId=${session}` },
    { path: `/v1/executions?cursor=${running}` },
    { path: '/v1/executions' },
  ],
  getExecution: onEach(),
  deleteExecution: onEach(),
  readEvents: (names) => [
    ...onEach('/events')(names),
    ...onEach('/events?after=1&waitMs=50')(names),
    ...onEach('/events?after=999999')(names),
    ...onEach('/events', { headers: STREAM })(names),
  ],
  readOutput: onEach('/output'),
  pauseExecution: onEach('/pause'),
  resumeExecution: onEach('/resume'),
  cancelExecution: onEach('/cancel'),
  addInput: onEach('/input', { json: { text: 'x' } }),
  readFile: (names) => [...inWorkspaces('/files/')(names), ...inWorkspaces('/files/secret.txt')(names)],
  writeFile: inWorkspaces('/files/secret.txt', { body: 'theirs' }),
  readArchive: inWorkspaces('/archive'),
  writeArchive: inWorkspaces('/archive', { body: '' }),
  revokeKey: ({ key }) => [{ path: `/v1/keys/${key}` }],
  rotateKey: ({ key }) => [{ path: `/v1/keys/${key}/rotate`, json: { overlapSeconds: 0 } }],
  createKey: NOTHING,
  listKeys: NOTHING,
  issueToken: NOTHING,
  readAudit: NOTHING,
  revokeToken: NOTHING,
  authStatus: NOTHING,
  resetMaxAccount: NOTHING,
  health: NOTHING,
  live: NOTHING,
  ready: NOTHING,
  root: NOTHING,
  openapi: NOTHING,
  openrpc: NOTHING,
  docs: NOTHING,
} satisfies Record<RouteName, Case>;

/** The params of every method: a new one without a case does not compile. */
const METHODS = {
  authenticate: NOTHING,
  execute: ({ session, lent }) => [
    { prompt: 'x', sessionId: session },
    { prompt: 'x', workspace: lent },
  ],
  subscribe: ({ running, finished }) => [
    { executionId: running },
    { executionId: finished, after: 1 },
    { executionId: finished, after: 999_999 },
  ],
  unsubscribe: ({ running, finished }) => [{ executionId: running }, { executionId: finished }],
  control: ({ running, finished }) =>
    ['pause', 'resume', 'cancel'].flatMap((action) => [
      { executionId: running, action },
      { executionId: finished, action },
    ]),
  input: ({ running, finished }) => [
    { executionId: running, text: 'x' },
    { executionId: finished, text: 'x' },
  ],
  'executions.get': ({ running, finished }) => [{ executionId: running }, { executionId: finished }],
  'executions.list': ({ session, running }) => [{ sessionId: session }, { cursor: running }, {}],
  'rpc.discover': NOTHING,
  ping: NOTHING,
} satisfies Record<MethodName, typeof NOTHING | ((names: Names) => object[])>;

const LENT = 'lent:shared';
const NOBODYS = (): Names => ({
  ...{ running: newId(), finished: newId(), session: newId() },
  ...{ workspace: 'shop-of-noone', lent: 'lent:nobody', key: randomUUID().replaceAll('-', '').slice(0, 16) },
});

interface Site {
  server: TestServer;
  acme: Calls;
  names: Names;
  /** Callers who are not of `acme`. */
  strangers: Record<string, Calls>;
  /** How everything of `acme` is now. */
  look(): Promise<unknown>;
}

async function site(): Promise<Site> {
  const folder = await temporaryFolder();
  const shared = join(folder, 'shared');
  await mkdir(shared);
  await writeFile(join(shared, 'secret.txt'), 'ours');
  const deltas = { kind: 'deltas' as const, count: 3_000, text: 'word ', deltaEveryMs: 20 };
  const env = { CC_WORKSPACES: `shared@acme=${shared}`, CC_CALLER_CREDENTIALS: 'on' };
  const server = await testServer({ script: [{ kind: 'text', text: 'Hello' }, deltas], env });
  const keyOf = async (wanted: object) => (await server.call('/v1/keys', { json: { name: 'k', ...wanted } })).json();
  const own = await keyOf({ tenant: 'acme', scopes: ['admin'] });
  const [other, all] = [await keyOf({ tenant: 'other', scopes: ['admin'] }), server.key];
  const stranger = callsTo(server.url, other.key);
  const { token } = await (await stranger.call('/v1/auth/token', { json: {} })).json();
  const acme = callsTo(server.url, own.key);
  const workspace = 'shop-of-acme1';
  const finished = await acme.run({ prompt: 'x' });
  await acme.call(`/v1/workspaces/${workspace}/files/secret.txt`, { method: 'PUT', body: 'ours' });
  const running = await acme.submit({ prompt: 'y', workspace: LENT, idempotencyKey: 'same' });
  await expect.poll(async () => (await acme.get(running.id)).state, { timeout: 20_000 }).toBe('running');
  const names: Names = {
    ...{ running: running.id, finished: finished.id, session: finished.sessionId ?? '' },
    ...{ workspace, lent: LENT, key: own.id },
  };
  const look = async (): Promise<unknown> => ({
    running: (({ state, cancelRequestedAt, sessionId }) => ({ state, cancelRequestedAt, sessionId }))(
      await acme.get(running.id),
    ),
    finished: await acme.get(finished.id),
    file: await (await acme.call(`/v1/workspaces/${workspace}/files/secret.txt`)).text(),
    lent: await readFile(join(shared, 'secret.txt'), 'utf8'),
    list: (await (await acme.call('/v1/executions')).json()).executions.length,
    key: (await (await acme.call('/v1/keys')).json()).keys.map((key: { lastUsedAt: null }) => ({
      ...key,
      lastUsedAt: null,
    })),
  });
  return {
    server,
    acme,
    names,
    look,
    strangers: {
      ...{ other: stranger, token: callsTo(server.url, token), operator: callsTo(server.url, all) },
      paying: callsTo(server.url, 'sk-ant-api03-stranger-AAAA'),
    },
  };
}

/** An answer without what differs from one to the next of the same kind: ids, and the number of the request. */
function withoutIds(text: string, names: Names): string {
  const ids = Object.values(names).sort((left, right) => right.length - left.length);
  const named = ids.reduce((left, id) => left.replaceAll(id, 'ID'), text);
  return named
    .replace(/"requestId":"[^"]+"/, '"requestId":"REQUEST"')
    .replaceAll(/lent workspace (shared|nobody)/g, 'lent workspace ID');
}

async function answer(
  calls: Calls,
  name: RouteName,
  { path, json, body, headers }: Asked,
  names: Names,
): Promise<string> {
  const { method } = HTTP_ROUTES[name];
  const type = name === 'writeArchive' ? { 'content-type': 'application/x-tar' } : {};
  const response = await calls.call(path, {
    method,
    ...(json === undefined ? {} : { json }),
    ...(body === undefined ? {} : { body }),
    headers: { ...type, ...headers },
  });
  const told = [...response.headers].filter(([header]) => header !== 'date' && header !== 'x-request-id');
  return withoutIds(`${response.status}\n${JSON.stringify(told)}\n${await response.text()}`, names);
}

type HttpCase = [RouteName, (names: Names) => Asked[]];
const httpCases = (Object.entries(ROUTES) as [RouteName, Case][]).filter(
  (entry): entry is HttpCase => entry[1] !== NOTHING,
);
/** They make something of the caller's own under a name that others may have too. */
const MAKES_ITS_OWN: ReadonlySet<RouteName> = new Set(['writeFile', 'writeArchive']);

/** Asks for what is another's and for what nobody has: the answers are the same, byte for byte. */
async function assertAlike({ names }: Site, [who, calls]: [string, Calls], [name, make]: HttpCase): Promise<void> {
  const nobodys = NOBODYS();
  const missing = make(nobodys);
  const allowed = name === 'listExecutions' || MAKES_ITS_OWN.has(name) ? /^(20[01]|40[04])$/ : /^40[034]$/;
  for (const [index, asked] of make(names).entries()) {
    const theirs = await answer(calls, name, asked, names);
    const noones = await answer(calls, name, missing[index] ?? asked, nobodys);
    expect([who, name, asked.path, theirs]).toEqual([who, name, asked.path, noones]);
    expect([who, name, theirs.slice(0, 3)]).toEqual([who, name, expect.stringMatching(allowed)]);
  }
}

describe('what belongs to one tenant', () => {
  test('is to every other caller, on every route, what does not exist, and stays as it was', async () => {
    const place = await site();
    const { server, acme, names, strangers, look } = place;
    const before = await look();
    // The operator has the keys of all tenants, and nothing else of them.
    const asking = Object.entries(strangers).flatMap((stranger) =>
      httpCases
        .filter(([name]) => stranger[0] !== 'operator' || !/Key$/.test(name))
        .map((one) => [MAKES_ITS_OWN.has(one[0]), () => assertAlike(place, stranger, one), stranger[0]] as const),
    );
    for (const [, ask] of asking.filter(([makes]) => !makes)) await ask();
    for (const [, ask] of asking.filter(([makes, , who]) => makes && who !== 'token')) await ask();
    expect(await look()).toEqual(before);
    const nobody = callsTo(server.url, 'no-key');
    for (const [name, make] of httpCases) {
      const answers = [names, NOBODYS()].flatMap((set) => make(set).map((asked) => answer(nobody, name, asked, set)));
      const [first, ...rest] = await Promise.all(answers);
      expect([name, first?.slice(0, 3), new Set(rest)]).toEqual([name, '401', new Set([first])]);
    }
    // The same requests are right: their own tenant is answered.
    for (const name of ['getExecution', 'readEvents', 'readOutput', 'readFile', 'pauseExecution'] as const) {
      const [asked = { path: '' }] = ROUTES[name](names);
      expect([name, (await answer(acme, name, asked, names)).slice(0, 3)]).toEqual([name, '200']);
    }
  });

  test('is over the WebSocket, by every method, what does not exist, and sends no event', {
    timeout: 60_000,
  }, async () => {
    const { server, names, strangers, look } = await site();
    const before = await look();
    const cases = (Object.entries(METHODS) as [MethodName, unknown][]).flatMap(([method, make]) =>
      typeof make === 'function' ? [[method, make as (names: Names) => object[]] as const] : [],
    );
    for (const [who, { key }] of Object.entries(strangers)) {
      const client = await rpcClient(server.url, { key });
      const told = async (method: string, params: object, set: Names): Promise<string> => {
        const { id: _, ...said } = await client.call(method, params);
        return withoutIds(JSON.stringify(said), set);
      };
      for (const [method, make] of cases) {
        const nobodys = NOBODYS();
        const missing = make(nobodys);
        for (const [index, params] of make(names).entries()) {
          const theirs = await told(method, params, names);
          expect([who, method, theirs]).toEqual([who, method, await told(method, missing[index] ?? params, nobodys)]);
          if (method !== 'executions.list') expect(theirs).toMatch(/"code":(1002|-32602)/);
          // A notification is not answered, and must do no more than a call.
          client.send(JSON.stringify({ jsonrpc: '2.0', method, params }));
        }
      }
      await client.call('ping');
      expect(client.frames.filter((frame) => frame.includes('"method":"event"'))).toEqual([]);
    }
    expect(await look()).toEqual(before);
  });

  test('shares no idempotency key and no list with another, and lent directories are its own', async () => {
    const { acme, names, strangers } = await site();
    const { other } = strangers;
    if (other === undefined) throw new Error('there is no stranger');
    const own = await other.submit({ prompt: 'y', workspace: names.workspace, idempotencyKey: 'same' });
    onTestFinished(() => void other.call(`/v1/executions/${own.id}/cancel`, { method: 'POST' }).catch(() => {}));
    expect(own.id).not.toBe(names.running);
    const idsOf = async (calls: Calls): Promise<string[]> =>
      (await (await calls.call('/v1/executions')).json()).executions.map(({ id }: { id: string }) => id);
    expect(await idsOf(other)).toEqual([own.id]);
    expect(await idsOf(acme)).toEqual([names.running, names.finished]);
    expect((await other.call(`/v1/workspaces/${names.workspace}/files/secret.txt`)).status).toBe(404);
    expect((await acme.call('/v1/workspaces/lent:shared/files/secret.txt')).status).toBe(200);
  });
});

describe('every route and method', () => {
  let takesId: string[];
  beforeAll(() => {
    takesId = [
      ...Object.entries(HTTP_ROUTES).flatMap(([name, route]) => ('params' in route ? [name] : [])),
      ...Object.entries(RPC_METHODS).flatMap(([name, { params }]) =>
        Object.keys(params.shape).some((field) => /Id$|^workspace$/.test(field)) ? [name] : [],
      ),
    ];
  });

  test('that takes an id has a case for what belongs to another', () => {
    const cases: Record<string, unknown> = { ...ROUTES, ...METHODS };
    expect(takesId.length).toBeGreaterThan(18);
    expect(takesId.filter((name) => typeof cases[name] !== 'function')).toEqual([]);
  });
});
