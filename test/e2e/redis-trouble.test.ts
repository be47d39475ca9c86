// promise: P9
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type BuiltServer, builtServer } from '../support/built-server.ts';
import { has } from '../support/capabilities.ts';
import { machine } from '../support/program.ts';
import { type RedisServer, redisServer } from '../support/redis-server.ts';
import { eventsIn } from '../support/server.ts';
import { smallDisk } from '../support/small-disk.ts';

const SLOW = [{ kind: 'deltas' as const, count: 200, text: 'word ', deltaEveryMs: 35 }];

interface Trouble {
  redis: RedisServer;
  api: BuiltServer;
  worker: BuiltServer;
  /** An execution that runs. */
  id: string;
}

async function runningTask(...redisArgs: string[]): Promise<Trouble> {
  const redis = await redisServer(...redisArgs);
  const home = await machine(SLOW);
  const node = (role: string) =>
    builtServer({
      machine: home,
      env: { REDIS_URL: redis.url, CC_ROLE: role, CC_DRAIN_MS: '0', CC_LOG_LEVEL: 'info' },
    });
  const worker = await node('worker');
  const api = await node('api');
  const { id } = await api.submit({ prompt: 'x' });
  await expect.poll(async () => (await api.get(id)).partialText, { timeout: 20_000 }).toContain('word');
  return { redis, api, worker, id };
}

const readiness =
  ({ url }: BuiltServer) =>
  async () =>
    (await fetch(`${url}/health/ready`)).status;

/** What was logged while Redis was away, in lines for each second. */
function linesPerSecond({ running }: BuiltServer, from: number, seconds: number): number {
  return running.said().stderr.slice(from).split('\n').length / seconds;
}

async function expectWhole({ api, id }: Trouble): Promise<void> {
  await expect.poll(async () => (await api.get(id)).outcome?.kind, { timeout: 40_000 }).toBe('succeeded');
  const log = eventsIn(await api.stream(id));
  expect(log.map(([seq]) => seq)).toEqual(log.map((_, index) => index + 1));
  expect(log.filter(([, type]) => type === 'execution.finished')).toHaveLength(1);
  const said = log.filter(([, type]) => type === 'claude.delta').map(([, , data]) => JSON.parse(data).data.text);
  expect(said.join('')).toBe('word '.repeat(200));
}

describe.runIf(has('redis'))('while Redis', () => {
  test('is dead, nodes are not ready, nothing is accepted, and a run goes on; when it is back, its log is whole', async () => {
    const trouble = await runningTask();
    const { redis, api, worker } = trouble;
    const [apiSaid, workerSaid] = [api.running.said().stderr.length, worker.running.said().stderr.length];
    await redis.kill();
    for (const node of [api, worker]) await expect.poll(readiness(node), { timeout: 5_000 }).toBe(503);
    const refused = await api.call('/v1/executions', { json: { prompt: 'y' } });
    expect([refused.status, (await refused.json()).code]).toEqual([503, 'storage_unavailable']);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(linesPerSecond(api, apiSaid, 3)).toBeLessThan(10);
    expect(linesPerSecond(worker, workerSaid, 3)).toBeLessThan(10);
    await redis.start();
    for (const node of [api, worker]) await expect.poll(readiness(node), { timeout: 15_000 }).toBe(200);
    await expectWhole(trouble);
  });

  test('is frozen, nothing hangs for long, and afterwards nothing is lost or done twice', async () => {
    const trouble = await runningTask();
    const { redis, api, worker, id } = trouble;
    process.kill(redis.pid(), 'SIGSTOP');
    try {
      await expect.poll(readiness(api), { timeout: 8_000 }).toBe(503);
      expect((await api.call(`/v1/executions/${id}`)).status).toBe(503);
    } finally {
      process.kill(redis.pid(), 'SIGCONT');
    }
    for (const node of [api, worker]) await expect.poll(readiness(node), { timeout: 15_000 }).toBe(200);
    await expectWhole(trouble);
  });

  test.each([
    ['is full', ['CONFIG', 'SET', 'maxmemory', '1mb'], ['CONFIG', 'SET', 'maxmemory', '0']],
    ['is paused', ['CLIENT', 'PAUSE', '6000', 'ALL'], undefined],
  ])('%s, nothing is accepted, and a run goes on with a whole log', async (_what, begin, end) => {
    const trouble = await runningTask();
    const { redis, api, worker } = trouble;
    const [name = '', ...args] = begin;
    await redis.command(name, ...args);
    await expect.poll(readiness(api), { timeout: 8_000 }).toBe(503);
    expect((await api.call('/v1/executions', { json: { prompt: 'y' } })).status).toBe(503);
    if (end !== undefined) await redis.command(end[0] ?? '', ...end.slice(1));
    for (const node of [api, worker]) await expect.poll(readiness(node), { timeout: 20_000 }).toBe(200);
    await expectWhole(trouble);
  });

  test.runIf(has('mount')).each([
    { fsync: 'everysec', what: 'refuses writes' },
    { fsync: 'always', what: 'ends' },
  ])('has no disk left for its file and $what, nothing is accepted, and a run goes on', async ({ fsync }) => {
    const disk = smallDisk(8);
    const trouble = await runningTask('--dir', disk.path, '--appendfsync', fsync);
    const { api, worker, redis } = trouble;
    const filler = fill(`${disk.path}/filler`);
    await expect.poll(readiness(api), { timeout: 20_000 }).toBe(503);
    expect((await api.call('/v1/executions', { json: { prompt: 'y' } })).status).toBe(503);
    rmSync(filler);
    if (fsync === 'always') await redis.start();
    for (const node of [api, worker]) await expect.poll(readiness(node), { timeout: 20_000 }).toBe(200);
    await expectWhole(trouble);
  });
});

/** Fills a disk to its last page. */
function fill(path: string): string {
  const file = openSync(path, 'w');
  try {
    for (;;) writeSync(file, Buffer.alloc(4096));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  } finally {
    closeSync(file);
  }
  return path;
}
