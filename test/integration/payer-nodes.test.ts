import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { AuthStatus } from '../../src/protocol/credential-status.ts';
import { has } from '../support/capabilities.ts';
import { recordedLog } from '../support/recorded-log.ts';
import { type RedisServer, redisServer } from '../support/redis-server.ts';
import { callsTo, type TestServer, testServer } from '../support/server.ts';

const OPERATOR = 'sk-ant-api03-operator-AAAA';
const CALLER = 'sk-ant-oat01-caller-BBBB';
const KEY = 'an-envelope-key-of-32-characters';
const NO_KEY = { key: 'none' };

const log = recordedLog();
const settings = ({ url }: RedisServer, env: Record<string, string>): Record<string, string> => ({
  ...{ REDIS_URL: url, CC_CALLER_CREDENTIALS: 'on', CC_ENVELOPE_KEY: KEY, ANTHROPIC_API_KEY: OPERATOR },
  ...env,
});

function apiOn(redis: RedisServer): Promise<TestServer> {
  return testServer({ env: settings(redis, { CC_ROLE: 'api', ANTHROPIC_API_KEY: '' }), logger: log.logger });
}

/** Runs where the API's files are. */
function workerOn(
  redis: RedisServer,
  { folder, model }: TestServer,
  env: Record<string, string> = {},
): Promise<TestServer> {
  const asked = settings(redis, { CC_ROLE: 'worker', ANTHROPIC_BASE_URL: model.url, ...env });
  return testServer({ ...NO_KEY, folder, env: asked, logger: log.logger });
}

/** Whether the whole store, its files included, holds a text. */
async function storeHolds({ folder, command }: RedisServer, text: string): Promise<boolean> {
  const names = await command('KEYS', '*');
  const keys = Array.isArray(names) ? names.map(String) : [];
  const dumps = await Promise.all(keys.map(async (key) => String(await command('DUMP', key))));
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const contents = await Promise.all(files.map((file) => readFile(file, 'latin1')));
  return [...dumps, ...contents].some((content) => content.includes(text));
}

describe.runIf(has('redis'))('several nodes on one Redis', () => {
  test('a caller’s credential waits encrypted, pays on the worker that runs, and is gone when it has ended', async () => {
    const redis = await redisServer();
    const api = await apiOn(redis);
    const caller = callsTo(api.url, CALLER);
    const { id } = await caller.submit({ prompt: 'Hi' });
    const sealed = String(await redis.command('HGET', 'cce:envelopes', id));
    expect(sealed).toMatch(/^e1\.[\w-]+$/);
    expect(await storeHolds(redis, sealed)).toBe(true);
    expect(await storeHolds(redis, 'caller-BBBB')).toBe(false);
    await workerOn(redis, api);
    await expect.poll(async () => (await caller.get(id)).state, { timeout: 20_000 }).toBe('finished');
    expect((await caller.get(id)).outcome?.kind).toBe('succeeded');
    const paid = api.model.requests.filter(({ path }) => !path.includes('count_tokens'));
    expect(paid.map(({ headers }) => headers.authorization)).toEqual([`Bearer ${CALLER}`]);
    expect(await redis.command('EXISTS', 'cce:envelopes')).toBe(0);
    expect(await storeHolds(redis, 'caller-BBBB')).toBe(false);
    expect(log.text().includes('caller-BBBB')).toBe(false);
  });

  test('on a worker with another key the run fails, says why, and the operator’s credential does not stand in', async () => {
    const redis = await redisServer();
    const api = await apiOn(redis);
    const caller = callsTo(api.url, CALLER);
    const { id } = await caller.submit({ prompt: 'Hi' });
    await workerOn(redis, api, { CC_ENVELOPE_KEY: 'another-envelope-key-of-32-chars' });
    await expect.poll(async () => (await caller.get(id)).state, { timeout: 20_000 }).toBe('finished');
    const outcome = {
      kind: 'failed',
      reason: 'auth_failed',
      message: expect.stringContaining('another CC_ENVELOPE_KEY'),
    };
    expect((await caller.get(id)).outcome).toMatchObject(outcome);
    expect(api.model.requests.filter(({ path }) => !path.includes('count_tokens'))).toHaveLength(0);
  });

  test('an API without a credential tells how those of its workers are, and forgets a worker that is gone', async () => {
    const redis = await redisServer();
    const api = await apiOn(redis);
    const nodes = async () => AuthStatus.parse(await (await api.call('/v1/auth/status')).json()).nodes;
    expect(await nodes()).toEqual([]);
    const worker = await workerOn(redis, api);
    const credential = { kind: 'api_key', source: 'ANTHROPIC_API_KEY', state: 'ok' };
    await expect.poll(nodes, { timeout: 5_000 }).toMatchObject([{ role: 'worker', credential }]);
    await worker.stop();
    await expect.poll(nodes, { timeout: 5_000 }).toEqual([]);
  });
});
