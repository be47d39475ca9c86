// promise: P1, P2, P6

import { describe, expect, onTestFinished, test } from 'vitest';
import { newId } from '../../src/protocol/ids.ts';
import { openRedisStorage } from '../../src/storage/redis/redis-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { has } from '../support/capabilities.ts';
import { range } from '../support/event-log-fixture.ts';
import {
  eventOf,
  eventsOf,
  executionOf,
  finishOf,
  KEEP_ALL,
  recordOf,
  sessionOf,
} from '../support/execution-records.ts';
import { waitUntil } from '../support/processes.ts';
import { openOn, type RedisServer, redisServer } from '../support/redis-server.ts';

async function allSeqs(storage: Storage, id: string): Promise<number[]> {
  const { events } = await storage.readEvents(id, { after: 0, limit: 5_000, maxBytes: 64 * 1024 * 1024 });
  return events.map(({ seq }) => seq);
}

async function keysOf(server: RedisServer): Promise<string[]> {
  const keys = await server.command('KEYS', '*');
  return Array.isArray(keys) ? keys.map(String).sort() : [];
}

describe.runIf(has('redis'))('services that share one Redis', () => {
  test('two writers of one log race: every event is stored once, in order, by whoever came first', async () => {
    const server = await redisServer();
    const stores = [await openOn(server), await openOn(server)];
    const { record } = await (stores[0] ?? expect.fail()).createExecution(recordOf(), eventOf(1));
    const { id } = record.execution;
    const stored: string[] = [];
    const write = async (storage: Storage, name: string): Promise<void> => {
      for (let seq = 2; seq <= 400; seq += 1) {
        const event = eventOf(seq, name);
        const [result] = await Promise.allSettled([storage.append({ executionId: id, fence: 1, events: [event] })]);
        if (result?.status === 'fulfilled') stored.push(event.bytes);
        else expect(result?.reason).toMatchObject({ code: 'stale_writer' });
      }
    };
    await Promise.all(stores.map((storage, index) => write(storage, `writer ${index}`)));
    const page = await (stores[0] ?? expect.fail()).readEvents(id, { after: 1, limit: 1_000, maxBytes: 1_000_000 });
    expect(page.events.map(({ seq }) => seq)).toEqual(range(2, 400));
    expect(new Set(page.events.map(({ bytes }) => bytes))).toEqual(new Set(stored));
    expect(stored).toHaveLength(399);
  });

  test('of many take-overs that race with appends one wins, and nothing of the old writer comes after it', async () => {
    const server = await redisServer();
    const [owner, ...takers] = await Promise.all([openOn(server), openOn(server), openOn(server)]);
    if (owner === undefined) expect.fail();
    const { record } = await owner.createExecution(recordOf(), eventOf(1));
    const { id } = record.execution;
    let last = 1;
    const appending = (async () => {
      for (; last < 2_000; last += 1) await owner.append({ executionId: id, fence: 1, events: [eventOf(last + 1)] });
    })();
    const refused = expect(appending).rejects.toMatchObject({ code: 'stale_writer' });
    await waitUntil('some events', () => last > 10);
    const taken = await Promise.all(takers.map((taker, index) => taker.takeOver(id, 1, `instance-${index}`)));
    await refused;
    const [winner, ...others] = taken.filter((found) => found !== undefined);
    expect(others).toEqual([]);
    expect(winner).toMatchObject({ fence: 2, execution: { lastSeq: last } });
    expect(await allSeqs(owner, id)).toEqual(range(1, last));
  });

  test('SCRIPT FLUSH at any time is not noticed', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    const { record } = await storage.createExecution(recordOf(), eventOf(1));
    const executionId = record.execution.id;
    for (let seq = 2; seq <= 20; seq += 1) {
      await server.command('SCRIPT', 'FLUSH');
      await storage.append({ executionId, fence: 1, events: [eventOf(seq)] });
    }
    expect(await allSeqs(storage, executionId)).toEqual(range(1, 20));
  });

  test('a bell tells of logs that others have written to, also after the connection was lost', async () => {
    const server = await redisServer();
    const [writer, reader] = [await openOn(server), await openOn(server)];
    const { record } = await writer.createExecution(recordOf(), eventOf(1));
    const executionId = record.execution.id;
    const heard: string[] = [];
    const stop = reader.watch?.((id) => heard.push(id));
    let seq = 1;
    const hearsOf = (what: string): Promise<unknown> =>
      waitUntil(what, async () => {
        seq += 1;
        await writer.append({ executionId, fence: 1, events: [eventOf(seq)] });
        return heard.includes(executionId);
      });
    await hearsOf('a first bell');
    await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    heard.length = 0;
    await hearsOf('a bell on the new connection');
    stop?.();
    await waitUntil('the bell’s connection to be closed', async () => {
      const found = await server.command('PUBSUB', 'NUMSUB', 'cce:bell');
      return Array.isArray(found) && found[1] === 0;
    });
  });

  test('every key begins with cce:, and only heartbeats expire', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    await storage.registerInstance('instance-a');
    const session = sessionOf(newId());
    const sessionId = session.id;
    const { record } = await storage.createExecution(
      recordOf({ idempotencyKey: 'k', execution: { sessionId } }),
      eventOf(1),
      { session },
    );
    await storage.claim(['workspace:w'], { executionId: record.execution.id, instanceId: 'instance-a' });
    await storage.addFirstKey({ id: 'a', sha256: 'hash', createdAt: '2030-01-01T00:00:00.000Z' });
    await storage.probe();
    const keys = await keysOf(server);
    expect(keys.filter((key) => !key.startsWith('cce:'))).toEqual([]);
    const expiring = [];
    for (const key of keys) if (Number(await server.command('PTTL', key)) !== -1) expiring.push(key);
    expect(expiring).toEqual(['cce:instance:instance-a']);
  });

  test('what is deleted leaves no key behind', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    const empty = await keysOf(server);
    const session = sessionOf(newId());
    for (let index = 0; index < 2; index += 1) {
      const changes = { idempotencyKey: `k${index}`, fresh: true, directory: '/workspaces/fresh' };
      const record = recordOf({ ...changes, execution: { sessionId: session.id } });
      const { id } = record.execution;
      await storage.createExecution(record, eventOf(1), { session });
      await storage.claim([`workspace:${index}`], { executionId: id, instanceId: 'instance-a' });
      const running = executionOf({ id, state: 'running', sessionId: session.id });
      await storage.append({ executionId: id, fence: 1, events: eventsOf(2, 10), execution: running });
      await storage.append(finishOf(record, 11, '2030-01-02T00:00:00.000Z'));
    }
    const limits = { ...KEEP_ALL, recordsFinishedBefore: '2030-01-03T00:00:00.000Z' };
    expect(await storage.applyRetention(limits)).toMatchObject({
      directories: ['/workspaces/fresh'],
      sessions: [{ id: session.id }],
    });
    expect((await keysOf(server)).filter((key) => !empty.includes(key))).toEqual(['cce:log-bytes']);
    expect(await server.command('GET', 'cce:log-bytes')).toBe('0');
  });

  test('an instance that is gone without a word counts as alive until its heartbeat and the benefit of the doubt end', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    const other = await openRedisStorage({ url: server.url });
    onTestFinished(() => other.close());
    await other.registerInstance('instance-b');
    await server.command('DEL', 'cce:instance:instance-b');
    expect(await storage.instanceAlive('instance-b')).toBe(true);
    await waitUntil('the next heartbeat', async () => (await server.command('PTTL', 'cce:instance:instance-b')) !== -2);
    await expect(storage.registerInstance('instance-b')).rejects.toThrow('another process');
    await other.close();
    expect(await storage.instanceAlive('instance-b')).toBe(false);
  });

  test('a list is filtered by all that is asked, in pages that hold every match once', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    const sessionId = newId();
    const expected: string[] = [];
    for (let index = 0; index < 450; index += 1) {
      const record = recordOf({ execution: index % 2 === 0 ? { sessionId } : {} });
      await storage.createExecution(record, eventOf(1));
      if (index % 3 === 0) await storage.append(finishOf(record, 2));
      if (index % 6 === 0) expected.unshift(record.execution.id);
    }
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const filter = {
        tenant: 'local',
        state: 'finished',
        outcome: 'succeeded',
        sessionId,
        limit: 30,
        cursor,
      } as const;
      const page = await storage.listExecutions(filter);
      seen.push(...page.executions.map(({ id }) => id));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(seen).toEqual(expected);
  });
});
