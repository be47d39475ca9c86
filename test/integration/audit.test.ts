import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { CHAIN_START, verifyChain } from '../../src/protocol/audit.ts';
import { has } from '../support/capabilities.ts';
import { fakeClaude, waitUntil } from '../support/processes.ts';
import { redisServer } from '../support/redis-server.ts';
import { rpcClient } from '../support/rpc-client.ts';
import { type TestServer, testServer } from '../support/server.ts';

const STALLING = { CLAUDE_BIN: fakeClaude('stalls') };
const CANARY = 'canary-7d1f';

interface Entry {
  seq: number;
  action: string;
  outcome: string;
  subject: string | null;
  tenant: string | null;
  keyId: string | null;
  address: string | null;
  requestId: string | null;
  detail: Record<string, string>;
}

async function entries({ call }: TestServer, after = 0): Promise<Entry[]> {
  return (await (await call(`/v1/audit?limit=1000&after=${after}`)).json()).entries;
}

async function exported({ call }: TestServer): Promise<string[]> {
  const text = await (await call('/v1/audit', { headers: { accept: 'application/x-ndjson' } })).text();
  return text.split('\n').filter((line) => line !== '');
}

const shown = ({ action, outcome, subject }: Entry): string => `${action} ${outcome} ${subject ?? ''}`.trim();

test('each change at each door is one entry, with who asked and how it ended, and no prompt in it', async () => {
  const server = await testServer({ env: { ...STALLING, CC_LIMIT_CONCURRENT_RUNS: '2', CC_DEFAULT_MODEL: 'opus' } });
  const { id } = await server.submit({ prompt: CANARY, idempotencyKey: 'k', workspace: 'w', env: { SECRET: CANARY } });
  await server.submit({ prompt: CANARY, idempotencyKey: 'k', workspace: 'w', env: { SECRET: CANARY } });
  const client = await rpcClient(server.url, { key: server.key });
  const second = (await client.call('execute', { prompt: CANARY })).result.id;
  await client.call('execute', { prompt: CANARY });
  await waitUntil(
    'both to run',
    async () => (await server.get(id)).cli !== null && (await server.get(second)).cli !== null,
  );
  await server.call(`/v1/executions/${id}/pause`, { method: 'POST' });
  await client.call('control', { executionId: id, action: 'resume' });
  await server.call(`/v1/executions/${id}`, { method: 'DELETE' });
  await server.call(`/v1/executions/${id}/cancel`, { method: 'POST' });
  await client.call('control', { executionId: second, action: 'cancel' });
  await server.stream(id);
  await server.call(`/v1/executions/${id}`, { method: 'DELETE' });
  await server.call('/v1/workspaces/w/files/a.txt', { method: 'PUT', body: CANARY });
  await server.call('/v1/executions', { json: { prompt: '' } });
  const log = await entries(server);
  expect(log.map(shown)).toEqual([
    expect.stringMatching(/^service.start ok /),
    `execution.start ok ${id}`,
    `execution.start ok ${second}`,
    'execution.start too_many',
    `execution.pause ok ${id}`,
    `execution.resume ok ${id}`,
    `execution.delete conflict ${id}`,
    `execution.cancel ok ${id}`,
    `execution.cancel ok ${second}`,
    `execution.delete ok ${id}`,
    'workspace.write ok w',
  ]);
  const keyId = server.key.split('_')[1];
  for (const entry of log.slice(1)) {
    expect(entry).toMatchObject({
      tenant: 'local',
      keyId,
      address: '127.0.0.1',
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  }
  expect(log[0]?.detail.settings?.split(' ')).toEqual(
    expect.arrayContaining(['CC_DEFAULT_MODEL', 'ANTHROPIC_API_KEY']),
  );
  const lines = await exported(server);
  expect(lines.map((line) => JSON.parse(line).seq)).toEqual(log.map(({ seq }) => seq));
  expect(lines.join('\n')).not.toContain(CANARY);
  expect(lines.join('\n')).not.toContain(server.key);
  expect(await verifyChain(lines, CHAIN_START)).toMatchObject({ entries: log.length });
});

test('the chain goes on over the end of a service, and SQLite itself refuses to change it', async () => {
  const server = await testServer({ env: STALLING });
  await server.stop();
  const next = await testServer({ env: STALLING, folder: server.folder });
  expect((await entries(next)).map(({ action }) => action)).toEqual(['service.start', 'service.stop', 'service.start']);
  expect(await verifyChain(await exported(next), CHAIN_START)).toMatchObject({ entries: 3 });
  const db = new DatabaseSync(`${server.folder}/data/store.sqlite`);
  try {
    expect(() => db.exec("UPDATE audit SET bytes = '{}' WHERE seq = 1")).toThrow(/never changed/);
    expect(() => db.exec('DELETE FROM audit WHERE seq = 3')).toThrow(/retention alone/);
    expect(() => db.exec("INSERT OR REPLACE INTO audit VALUES (1, '', '', '')")).toThrow(/follows the one before/);
    expect(() => db.exec("INSERT INTO audit VALUES (9, '', '', '')")).toThrow(/follows the one before/);
  } finally {
    db.close();
  }
});

test('an address that tries keys is one entry', async () => {
  const server = await testServer({ env: { CC_LIMIT_WRONG_KEYS: '2' } });
  for (let time = 0; time < 4; time += 1)
    await server.call('/v1/executions', { headers: { authorization: 'Bearer x' } });
  await server.stop();
  const next = await testServer({ folder: server.folder });
  const refused = (await entries(next)).filter(({ action }) => action === 'login.refused');
  expect(refused).toEqual([expect.objectContaining({ outcome: 'too_many', address: '127.0.0.1', keyId: null })]);
});

test('what is done to keys and tokens is written down by their ids, and only the operator reads the log', async () => {
  const server = await testServer({ env: STALLING });
  const made = await (
    await server.call('/v1/keys', { json: { name: 'team', tenant: 'team', scopes: ['admin'] } })
  ).json();
  const asTeam = { headers: { authorization: `Bearer ${made.key}` } };
  const { tokenId, token } = await (await server.call('/v1/auth/token', { json: {}, ...asTeam })).json();
  expect(
    (await server.call('/v1/keys', { json: { name: 'x', tenant: 'local', scopes: ['admin'] }, ...asTeam })).status,
  ).toBe(403);
  const refused = await server.call('/v1/audit', asTeam);
  expect(await refused.json()).toMatchObject({ status: 403, code: 'forbidden' });
  await server.call('/v1/auth/revoke', { json: { tokenId, tenant: 'team' } });
  await server.call(`/v1/keys/${made.id}/rotate`, { json: {} });
  await server.call(`/v1/keys/${made.id}`, { method: 'DELETE' });
  const log = (await entries(server)).slice(1);
  expect(log.map((entry) => `${entry.tenant} ${shown(entry)}`)).toEqual([
    `local key.create ok ${made.id}`,
    `team token.issue ok ${tokenId}`,
    'team key.create forbidden',
    `local token.revoke ok ${tokenId}`,
    `local key.rotate ok ${made.id}`,
    `local key.revoke ok ${made.id}`,
  ]);
  const text = (await exported(server)).join('\n');
  expect(text.includes(made.key) || text.includes(token)).toBe(false);
});

test('the log needs a key, and answers a page after any entry', async () => {
  const server = await testServer({ env: STALLING });
  expect((await fetch(`${server.url}/v1/audit`)).status).toBe(401);
  const [start] = await entries(server);
  expect(await entries(server, start?.seq)).toEqual([]);
  expect((await server.call('/v1/audit?limit=1001')).status).toBe(400);
});

describe.runIf(has('redis'))('with a redis-server', () => {
  test('the entries of two nodes are one chain', async () => {
    const { url } = await redisServer();
    const key = 'k'.repeat(32);
    const env = { ...STALLING, REDIS_URL: url, CC_API_KEY: key };
    const nodes = [await testServer({ env, key }), await testServer({ env, key })] as const;
    await Promise.all(Array.from({ length: 10 }, (_, index) => nodes[index % 2]?.submit({ prompt: 'x' })));
    const lines = await exported(nodes[0]);
    expect(lines.filter((line) => line.includes('"execution.start"'))).toHaveLength(10);
    expect(await verifyChain(lines, CHAIN_START)).toMatchObject({ entries: 12 });
    expect(await exported(nodes[1])).toEqual(lines);
  });
});
