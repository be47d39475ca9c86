import { expect, it, onTestFinished } from 'vitest';
import { createLogger } from '../../src/observability/logger.ts';
import { parseExecutionRequest } from '../../src/protocol/execution-request.ts';
import { openQueueDispatcher, type QueueDispatcher } from '../../src/queue/queue-dispatcher.ts';
import type { ExecutionRecord } from '../../src/storage/storage.ts';
import { within } from '../fixtures/queue-nodes.ts';
import { recordOf } from '../support/execution-records.ts';
import { type RedisServer, redisServer } from '../support/redis-server.ts';

async function dispatcherOn({ url }: RedisServer, queueLimit = 100_000): Promise<QueueDispatcher> {
  const dispatcher = await openQueueDispatcher({ url, queueLimit, logger: createLogger('silent') });
  onTestFinished(() => dispatcher.close());
  return dispatcher;
}

function waiting(tenant = 'local', priority = 50): ExecutionRecord {
  return { ...recordOf({ tenant }), request: parseExecutionRequest({ prompt: 'secret words', priority }) };
}

async function dispatchMany(dispatcher: QueueDispatcher, records: readonly ExecutionRecord[]): Promise<void> {
  for (let at = 0; at < records.length; at += 200) {
    await Promise.all(records.slice(at, at + 200).map((record) => dispatcher.dispatch(record)));
  }
}

it('an execution that waits already is not taken twice, and one can be taken out', async () => {
  const dispatcher = await dispatcherOn(await redisServer());
  const [first, second] = [waiting(), waiting()];
  for (const record of [first, second, first]) await dispatcher.dispatch(record);
  expect(await dispatcher.queuePosition(second.execution.id)).toBe(2);
  expect(await dispatcher.withdraw(first.execution.id)).toBe(true);
  expect(await dispatcher.withdraw(first.execution.id)).toBe(false);
  expect(await dispatcher.queuePosition(first.execution.id)).toBeNull();
  expect(await dispatcher.queuePosition(second.execution.id)).toBe(1);
  await within(5, 'the load to be known', async () => dispatcher.load().waiting === 1);
});

it('when one has ended as lost, the next in its line is looked at now, however long it was put back for', async () => {
  const redis = await redisServer();
  const dispatcher = await dispatcherOn(redis);
  const first = waiting();
  const second = { ...waiting(), directory: first.directory };
  for (const record of [first, second]) await dispatcher.dispatch(record);
  // As a worker does that took the first, found that the second has to wait, and died.
  for (const record of [first, second]) await redis.command('ZREM', 'cce:queue:prioritized', record.execution.id);
  const inAnHour = String((Date.now() + 3_600_000) * 4_096);
  await redis.command('ZADD', 'cce:queue:delayed', inAnHour, second.execution.id);
  const delayed = (): Promise<unknown> => redis.command('ZCARD', 'cce:queue:delayed');
  await dispatcher.ended(waiting());
  expect(await delayed()).toBe(1);
  await dispatcher.ended(first);
  expect(await delayed()).toBe(0);
  expect(await dispatcher.queuePosition(second.execution.id)).toBe(1);
});

it('the queue takes no more than its limit', async () => {
  const dispatcher = await dispatcherOn(await redisServer(), 2);
  await dispatchMany(dispatcher, [waiting()]);
  await dispatcher.assertRoom();
  await dispatchMany(dispatcher, [waiting()]);
  await expect(dispatcher.assertRoom()).rejects.toMatchObject({ code: 'queue_full', data: { retryAfterMs: 5_000 } });
});

it('no prompt is in the queue', async () => {
  const redis = await redisServer();
  const dispatcher = await dispatcherOn(redis);
  const record = waiting();
  await dispatcher.dispatch(record);
  const job = await redis.command('HGETALL', `cce:queue:${record.execution.id}`);
  expect(JSON.stringify(job)).toContain(record.execution.id);
  expect(JSON.stringify(job)).not.toContain('secret');
});

it('while Redis is away it says so in time, and what was dispatched meanwhile has not failed', async () => {
  const redis = await redisServer();
  const dispatcher = await dispatcherOn(redis);
  process.kill(redis.pid(), 'SIGSTOP');
  const unavailable = { code: 'storage_unavailable', data: { retryAfterMs: 2_000 } };
  await expect(dispatcher.assertRoom()).rejects.toMatchObject(unavailable);
  process.kill(redis.pid(), 'SIGCONT');
  await redis.kill();
  await expect(dispatcher.assertRoom()).rejects.toMatchObject(unavailable);
  const record = waiting();
  await dispatcher.dispatch(record);
  expect(await dispatcher.withdraw(record.execution.id)).toBe(false);
  await redis.start();
  await within(10, 'room', () =>
    dispatcher.assertRoom().then(
      () => true,
      () => false,
    ),
  );
  await dispatcher.dispatch(record);
  expect(await dispatcher.queuePosition(record.execution.id)).toBe(1);
});

it('a tenant with a thousand waiting executions does not hold up one that comes after it', async () => {
  const dispatcher = await dispatcherOn(await redisServer());
  await dispatchMany(
    dispatcher,
    Array.from({ length: 1_000 }, () => waiting('many')),
  );
  const few = [waiting('few'), waiting('few'), waiting('few')];
  for (const record of few) await dispatcher.dispatch(record);
  const positions = await Promise.all(few.map(({ execution }) => dispatcher.queuePosition(execution.id)));
  expect(positions).toEqual([2, 4, 6]);
});

it('fairness holds within one priority: a lower one waits for every higher one', async () => {
  const dispatcher = await dispatcherOn(await redisServer());
  await dispatchMany(
    dispatcher,
    Array.from({ length: 10 }, () => waiting('many', 51)),
  );
  const low = waiting('few', 50);
  await dispatcher.dispatch(low);
  expect(await dispatcher.queuePosition(low.execution.id)).toBe(11);
});

it('a tenant that was served before gets no less for it, and a queue that was empty begins anew', async () => {
  const dispatcher = await dispatcherOn(await redisServer());
  for (let turn = 0; turn < 20; turn += 1) {
    const record = waiting('busy');
    await dispatcher.dispatch(record);
    await dispatcher.withdraw(record.execution.id);
  }
  const [first, second] = [waiting('busy'), waiting('idle')];
  await dispatcher.dispatch(first);
  await dispatcher.dispatch(second);
  expect(await dispatcher.queuePosition(first.execution.id)).toBe(1);
  expect(await dispatcher.queuePosition(second.execution.id)).toBe(2);
});

it('turns are still taken after more of them than a priority has room for', { timeout: 120_000 }, async () => {
  const redis = await redisServer();
  const dispatcher = await dispatcherOn(redis);
  await dispatchMany(
    dispatcher,
    Array.from({ length: 10_400 }, () => waiting('many')),
  );
  const delayed = waiting('many');
  await dispatcher.dispatch(delayed);
  // As workers do that take the first of them, and put one back.
  await redis.command('ZREMRANGEBYRANK', 'cce:queue:prioritized', 0, 10_389);
  await redis.command('ZREM', 'cce:queue:prioritized', delayed.execution.id);
  await redis.command('ZADD', 'cce:queue:delayed', 1, delayed.execution.id);
  const before = Number(await redis.command('HGET', `cce:queue:${delayed.execution.id}`, 'priority'));
  const few = [waiting('few'), waiting('few')];
  for (const record of few) await dispatcher.dispatch(record);
  const positions = await Promise.all(few.map(({ execution }) => dispatcher.queuePosition(execution.id)));
  expect(positions).toEqual([2, 4]);
  const after = Number(await redis.command('HGET', `cce:queue:${delayed.execution.id}`, 'priority'));
  expect(before - after).toBe(10_390);
  const first = 1 + 50 * 20_763;
  const round = [first * 2 ** 32, `(${(first + 1) * 2 ** 32}`];
  expect(await redis.command('ZCOUNT', 'cce:queue:prioritized', ...round)).toBe(2);
});
