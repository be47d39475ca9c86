import { expect, it } from 'vitest';
import type { Storage } from '../../src/storage/storage.ts';
import { count, finished, queueSite, within } from '../fixtures/queue-nodes.ts';
import { fakeClaude } from '../support/processes.ts';
import type { RedisServer } from '../support/redis-server.ts';

// promise: P1 P3 P9
const SUCCEEDS = { CLAUDE_BIN: fakeClaude('succeeds') };

/** A number of `INFO`, 0 while it is not listed. */
async function infoNumber(redis: RedisServer, section: string, pattern: RegExp): Promise<number> {
  const [, found = '0'] = pattern.exec(String(await redis.command('INFO', section))) ?? [];
  return Number(found);
}

async function endedOnce(storage: Storage, id: string): Promise<void> {
  await finished(storage, id);
  expect(await count(storage, id, 'execution.started')).toBeLessThanOrEqual(1);
  expect(await count(storage, id, 'execution.finished')).toBe(1);
}

it('what was accepted before and after Redis was killed and started again runs, and nothing runs twice', {
  timeout: 120_000,
}, async () => {
  const { node, worker, redis } = await queueSite('--appendfsync', 'always');
  const api = await node('api', SUCCEEDS);
  const { storage } = api.service;
  const workers = [await worker({ ...SUCCEEDS, CC_MAX_CONCURRENT: '1' }), await worker(SUCCEEDS)];
  const before = await Promise.all(Array.from({ length: 30 }, () => api.start({ prompt: 'x' })));
  await within(20, 'some have run', async () => (await count(storage, before[3]?.id ?? '', 'execution.finished')) > 0);
  await redis.kill();
  await expect(api.start({ prompt: 'x' })).rejects.toMatchObject({ code: 'storage_unavailable' });
  await redis.start();
  const after = await within(10, 'one to be accepted', () => api.start({ prompt: 'x' }).catch(() => undefined));
  for (const { id } of [...before, after]) await endedOnce(storage, id);
  expect((await storage.getExecution('local', after.id))?.execution.outcome?.kind).toBe('succeeded');
  for (const { log } of workers) expect(log().length).toBeLessThan(60);
});

it('a worker waits while Redis is full, and goes on when there is room', { timeout: 120_000 }, async () => {
  const { node, worker, redis } = await queueSite();
  const api = await node('api', SUCCEEDS);
  const accepted = [await api.start({ prompt: 'x' }), await api.start({ prompt: 'x' })];
  await redis.command('CONFIG', 'SET', 'maxmemory', 1);
  const { log } = await worker(SUCCEEDS);
  const refusedProbes = (): Promise<number> => infoNumber(redis, 'commandstats', /cmdstat_set:.*rejected_calls=(\d+)/);
  await within(20, 'it has tried to write', async () => (await refusedProbes()) >= 4);
  expect(await infoNumber(redis, 'errorstats', /errorstat_OOM:count=(\d+)/)).toBeLessThan(100);
  expect(log().length).toBeLessThan(20);
  await redis.command('CONFIG', 'SET', 'maxmemory', 0);
  for (const { id } of accepted) await endedOnce(api.service.storage, id);
});

it('an execution that its worker took and never started runs on another one', { timeout: 60_000 }, async () => {
  const { node, redis } = await queueSite();
  const api = await node('api', SUCCEEDS);
  const { id } = await api.start({ prompt: 'x' });
  // As a worker leaves it that dies then: taken, and its lock run out.
  await redis.command('ZREM', 'cce:queue:prioritized', id);
  await redis.command('LPUSH', 'cce:queue:active', id);
  await node('all', SUCCEEDS);
  await endedOnce(api.service.storage, id);
});

it('an execution that the queue has lost is put back into it', { timeout: 60_000 }, async () => {
  const { node, redis } = await queueSite();
  const api = await node('api', SUCCEEDS);
  const { id } = await api.start({ prompt: 'x' });
  await redis.command('ZREM', 'cce:queue:prioritized', id);
  await redis.command('DEL', `cce:queue:${id}`);
  await node('all', SUCCEEDS);
  await endedOnce(api.service.storage, id);
});

it('a service on the queue closes while Redis is away', async () => {
  const { node, redis } = await queueSite();
  const { service } = await node('all', SUCCEEDS);
  await redis.kill();
  await within(10, 'the outage to be seen', () =>
    service.storage.probe().then(
      () => false,
      () => true,
    ),
  );
  await expect(service.close({ force: true })).resolves.toBeUndefined();
});
