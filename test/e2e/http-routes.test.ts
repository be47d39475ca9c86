import { describe, expect, test } from 'vitest';
import type { RouteName } from '../../src/protocol/http-routes.ts';
import { type BuiltServer, builtServer } from '../support/built-server.ts';
import { callsTo, eventsIn } from '../support/server.ts';

const JSON_TYPE = 'application/json; charset=utf-8';

/** One test at least for every route of the table: a route without one does not compile. */
const ROUTES = {
  execute: async ({ call }) => {
    const response = await call('/v1/execute', { json: { prompt: 'Say hello' } });
    expect([response.status, response.headers.get('content-type')]).toEqual([200, JSON_TYPE]);
    const execution = await response.json();
    expect(execution).toMatchObject({ state: 'finished', outcome: { kind: 'succeeded' }, result: { text: 'Hello' } });
    const early = await call('/v1/execute?waitMs=0', { json: { prompt: 'Say hello' } });
    expect([early.status, early.headers.get('location')]).toEqual([202, `/v1/executions/${(await early.json()).id}`]);
  },
  createExecution: async ({ call, get }) => {
    const response = await call('/v1/executions', { json: { prompt: 'Say hello' } });
    const { id, state } = await response.json();
    expect([response.status, response.headers.get('location')]).toEqual([202, `/v1/executions/${id}`]);
    expect(['queued', 'running']).toContain(state);
    expect((await get(id)).id).toBe(id);
  },
  listExecutions: async ({ call, run }) => {
    const ids = [await run({ prompt: 'one' }), await run({ prompt: 'two' })].map(({ id }) => id);
    const first = await (await call('/v1/executions?limit=1')).json();
    expect(first.executions.map(({ id }: { id: string }) => id)).toEqual([ids[1]]);
    const second = await (await call(`/v1/executions?limit=1&cursor=${first.nextCursor}`)).json();
    expect(second.executions.map(({ id }: { id: string }) => id)).toEqual([ids[0]]);
    expect(await (await call('/v1/executions?outcome=failed')).json()).toEqual({ executions: [], nextCursor: null });
  },
  getExecution: async ({ call, run }) => {
    const { id } = await run({ prompt: 'Say hello', metadata: { team: 'blue' } });
    const response = await call(`/v1/executions/${id}`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ id, state: 'finished', metadata: { team: 'blue' } });
  },
  deleteExecution: async ({ call, run }) => {
    const { id, workspace } = await run({ prompt: 'Say hello' });
    expect((await call(`/v1/workspaces/${workspace}/files/`)).status).toBe(200);
    const response = await call(`/v1/executions/${id}`, { method: 'DELETE' });
    expect([response.status, await response.text()]).toEqual([204, '']);
    expect((await call(`/v1/executions/${id}`)).status).toBe(404);
    expect((await call(`/v1/executions/${id}/events`)).status).toBe(404);
    expect((await call(`/v1/workspaces/${workspace}/files/`)).status).toBe(404);
  },
  readEvents: async ({ call, run, stream }) => {
    const { id, lastSeq } = await run({ prompt: 'Say hello' });
    const page = await (await call(`/v1/executions/${id}/events`)).json();
    expect(page.events.map(({ seq }: { seq: number }) => seq)).toEqual(
      Array.from({ length: lastSeq }, (_, i) => i + 1),
    );
    expect(page).toMatchObject({ nextAfter: lastSeq, finished: true });
    const part = await (await call(`/v1/executions/${id}/events?after=1&limit=2`)).json();
    expect(part).toMatchObject({ events: [{ seq: 2 }, { seq: 3 }], nextAfter: 3, finished: false });
    expect(eventsIn(await stream(id)).map(([seq, type, data]) => ({ seq, type, data }))).toEqual(
      page.events.map((event: { seq: number; type: string }) => ({
        seq: event.seq,
        type: event.type,
        data: JSON.stringify(event),
      })),
    );
  },
  readOutput: async ({ call, run }) => {
    const { id } = await run({ prompt: 'Say hello' });
    const response = await call(`/v1/executions/${id}/output`);
    expect([response.headers.get('content-type'), await response.text()]).toEqual([
      'text/plain; charset=utf-8',
      'Hello',
    ]);
  },
  pauseExecution: async (server) => {
    const id = await startedRun(server);
    const response = await server.call(`/v1/executions/${id}/pause`, { method: 'POST' });
    expect([response.status, (await response.json()).state]).toEqual([200, 'paused']);
    expect((await server.call(`/v1/executions/${id}/pause`, { method: 'POST' })).status).toBe(200);
  },
  resumeExecution: async (server) => {
    const id = await startedRun(server);
    await server.call(`/v1/executions/${id}/pause`, { method: 'POST' });
    const response = await server.call(`/v1/executions/${id}/resume`, { method: 'POST' });
    expect([response.status, (await response.json()).state]).toEqual([200, 'running']);
  },
  cancelExecution: async (server) => {
    const id = await startedRun(server);
    const response = await server.call(`/v1/executions/${id}/cancel`, { method: 'POST' });
    expect(response.status).toBe(200);
    expect((await response.json()).cancelRequestedAt).toMatch(/^\d{4}-.*Z$/);
    await expect.poll(async () => (await server.get(id)).outcome?.kind, { timeout: 15_000 }).toBe('cancelled');
    expect((await server.call(`/v1/executions/${id}/cancel`, { method: 'POST' })).status).toBe(200);
  },
  addInput: async (server) => {
    const id = await startedRun(server);
    const response = await server.call(`/v1/executions/${id}/input`, { json: { text: 'And now the other thing' } });
    expect(response.status).toBe(200);
    await server.call(`/v1/executions/${id}/cancel`, { method: 'POST' });
  },
  readFile: async ({ call }) => {
    await call('/v1/workspaces/w/files/deep/a.txt', { method: 'PUT', body: 'text' });
    const response = await call('/v1/workspaces/w/files/deep/a.txt');
    expect([response.headers.get('content-type'), await response.text()]).toEqual(['application/octet-stream', 'text']);
    expect(await (await call('/v1/workspaces/w/files/deep')).json()).toMatchObject({
      entries: [{ name: 'a.txt', kind: 'file', size: 4 }],
    });
  },
  writeFile: async ({ call }) => {
    const put = (body: string) => call('/v1/workspaces/w/files/a%20b.bin', { method: 'PUT', body });
    expect((await put('one')).status).toBe(201);
    const again = await put('three');
    expect([again.status, await again.json()]).toEqual([200, { path: 'a b.bin', size: 5 }]);
    expect(await (await call('/v1/workspaces/w/files/a%20b.bin')).text()).toBe('three');
  },
  readArchive: async ({ call }) => {
    await call('/v1/workspaces/w/files/a.txt', { method: 'PUT', body: 'text' });
    const response = await call('/v1/workspaces/w/archive');
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/x-tar']);
    expect(Buffer.from(await response.arrayBuffer()).includes('a.txt')).toBe(true);
  },
  writeArchive: async ({ call }) => {
    await call('/v1/workspaces/from/files/deep/a.txt', { method: 'PUT', body: 'text' });
    const archive = await (await call('/v1/workspaces/from/archive')).arrayBuffer();
    const headers = { 'content-type': 'application/x-tar' };
    const response = await call('/v1/workspaces/to/archive', { method: 'PUT', body: archive, headers });
    expect([response.status, await response.json()]).toEqual([200, { files: 1, directories: 1, bytes: 4 }]);
    expect(await (await call('/v1/workspaces/to/files/deep/a.txt')).text()).toBe('text');
  },
  readAudit: async ({ call, submit }) => {
    const { id } = await submit({ prompt: 'x' });
    const page = await (await call('/v1/audit?limit=1000')).json();
    expect(page.entries).toContainEqual(
      expect.objectContaining({ action: 'execution.start', subject: id, outcome: 'ok' }),
    );
    expect(page.last.seq).toBe(page.nextAfter);
  },
  health: async ({ call, url }) => {
    expect(await (await fetch(`${url}/health`)).json()).toEqual({ status: 'ok' });
    expect(await (await call('/health')).json()).toMatchObject({
      status: 'ok',
      checks: { storage: { ok: true }, claude: { ok: true }, credential: { ok: true, detail: 'api_key' } },
      running: 0,
      waiting: 0,
    });
  },
  live: async ({ url }) => {
    expect(await (await fetch(`${url}/health/live`)).json()).toEqual({ status: 'ok' });
  },
  ready: async ({ url }) => {
    const response = await fetch(`${url}/health/ready`);
    expect([response.status, await response.json()]).toEqual([200, { status: 'ok' }]);
  },
  root: async ({ url }) => {
    expect(await (await fetch(url)).json()).toMatchObject({ name: 'cc-executor', docs: '/docs' });
  },
  createKey: async ({ url, call }) => {
    const wanted = { name: 'reader', scopes: ['executions:read'], limits: { concurrentRuns: 2 } };
    const response = await call('/v1/keys', { json: wanted });
    const made = await response.json();
    expect([response.status, response.headers.get('cache-control')]).toEqual([201, 'no-store']);
    expect(made).toMatchObject({ ...wanted, tenant: 'local', expiresAt: null, revokedAt: null });
    const { call: asReader } = callsTo(url, made.key);
    expect((await asReader('/v1/executions')).status).toBe(200);
    const refused = await asReader('/v1/executions', { json: { prompt: 'x' } });
    expect([refused.status, await refused.json()]).toMatchObject([
      403,
      { code: 'forbidden', scope: 'executions:write' },
    ]);
  },
  listKeys: async ({ call }) => {
    await call('/v1/keys', { json: { name: 'other', tenant: 'acme', scopes: ['admin'] } });
    const { keys } = await (await call('/v1/keys')).json();
    expect(keys).toMatchObject([
      { tenant: 'local', scopes: ['admin'] },
      { tenant: 'acme', name: 'other' },
    ]);
    expect((await (await call('/v1/keys?tenant=acme')).json()).keys).toHaveLength(1);
    expect(JSON.stringify(keys)).not.toContain('cck_');
  },
  revokeKey: async ({ url, call }) => {
    const { id, key } = await (await call('/v1/keys', { json: { name: 'k', scopes: ['executions:read'] } })).json();
    const response = await call(`/v1/keys/${id}`, { method: 'DELETE' });
    expect([response.status, (await response.json()).revokedAt]).toEqual([200, expect.stringMatching(/Z$/)]);
    expect((await callsTo(url, key).call('/v1/executions')).status).toBe(401);
    expect((await call(`/v1/keys/${id}`, { method: 'DELETE' })).status).toBe(200);
    expect((await call('/v1/keys/none', { method: 'DELETE' })).status).toBe(404);
  },
  rotateKey: async ({ url, call }) => {
    const made = await (await call('/v1/keys', { json: { name: 'k', scopes: ['executions:read'] } })).json();
    const rotate = async (json: object) => (await call(`/v1/keys/${made.id}/rotate`, { json })).json();
    const statusOf = async (key: string) => (await callsTo(url, key).call('/v1/executions')).status;
    const second = await rotate({});
    expect([await statusOf(made.key), await statusOf(second.key)]).toEqual([200, 200]);
    const third = await rotate({ overlapSeconds: 0 });
    const statuses = [made.key, second.key, third.key].map(statusOf);
    expect(await Promise.all(statuses)).toEqual([401, 401, 200]);
  },
  issueToken: async ({ url, call }) => {
    const response = await call('/v1/auth/token', { json: { scopes: ['executions:read'], expiresInSeconds: 60 } });
    const { token, expiresAt } = await response.json();
    expect([response.status, Date.parse(expiresAt) - Date.now() < 61_000]).toEqual([201, true]);
    const { call: withToken } = callsTo(url, token);
    expect((await withToken('/v1/executions')).status).toBe(200);
    expect((await withToken('/v1/executions', { json: { prompt: 'x' } })).status).toBe(403);
    expect((await withToken('/v1/auth/token', { json: {} })).status).toBe(403);
  },
  revokeToken: async ({ url, call }) => {
    const { token } = await (await call('/v1/auth/token', { json: {} })).json();
    expect((await callsTo(url, token).call('/v1/executions')).status).toBe(200);
    expect((await call('/v1/auth/revoke', { json: { token } })).status).toBe(204);
    expect((await callsTo(url, token).call('/v1/executions')).status).toBe(401);
    expect((await call('/v1/auth/revoke', { json: { token } })).status).toBe(404);
  },
  authStatus: async ({ call }) => {
    const status = await (await call('/v1/auth/status?test=true')).json();
    expect(status).toMatchObject({ callerCredentials: 'off', maxAllowed: true, maxAccount: 'none' });
    const credential = {
      kind: 'api_key',
      source: 'ANTHROPIC_API_KEY',
      state: 'ok',
      lastTest: { ok: true, status: 200 },
    };
    expect(status.nodes).toMatchObject([{ role: 'all', credential }]);
    expect(JSON.stringify(status)).not.toContain('sk-ant');
  },
  resetMaxAccount: async ({ call }) => {
    expect((await call('/v1/auth/max-account', { method: 'DELETE' })).status).toBe(204);
  },
  openapi: async ({ call }) => {
    expect(await (await call('/v1/openapi.json')).json()).toMatchObject({ openapi: expect.stringMatching(/^3\.1/) });
  },
  openrpc: async ({ call }) => {
    expect(await (await call('/v1/openrpc.json')).json()).toMatchObject({ openrpc: expect.stringMatching(/^1\./) });
  },
  docs: async ({ url, key }) => {
    const asked = await fetch(`${url}/docs`);
    expect([asked.status, asked.headers.get('www-authenticate')]).toEqual([401, expect.stringContaining('Basic')]);
    const authorization = `Basic ${Buffer.from(`me:${key}`).toString('base64')}`;
    const page = await (await fetch(`${url}/docs`, { headers: { authorization } })).text();
    expect(page).toContain('/v1/executions');
  },
} satisfies Record<RouteName, (server: BuiltServer) => Promise<void>>;

/** A run that goes on for long enough to be acted upon. */
async function startedRun({ submit, get }: BuiltServer): Promise<string> {
  const { id } = await submit({ prompt: 'Take your time' });
  await expect.poll(async () => (await get(id)).cli, { timeout: 15_000 }).not.toBeNull();
  return id;
}

const SLOW = new Set(['pauseExecution', 'resumeExecution', 'cancelExecution', 'addInput']);

describe('every route does what its summary says', () => {
  test.each(Object.entries(ROUTES))('%s', async (name, check) => {
    const script = SLOW.has(name)
      ? [{ kind: 'deltas' as const, count: 2_000, text: 'word ', deltaEveryMs: 20 }]
      : undefined;
    await check(await builtServer(script === undefined ? {} : { script }));
  });
});
