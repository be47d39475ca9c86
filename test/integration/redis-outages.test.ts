// promise: P1, P6, P9

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EventLog } from '../../src/event-log/event-log.ts';
import type { StorageLog } from '../../src/storage/redis/connection.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { has } from '../support/capabilities.ts';
import { range } from '../support/event-log-fixture.ts';
import { eventOf, eventsOf, finishOf, recordOf } from '../support/execution-records.ts';
import { waitUntil } from '../support/processes.ts';
import { openOn, type RedisServer, redisServer } from '../support/redis-server.ts';

const ALL = { after: 0, limit: 5_000, maxBytes: 64 * 1024 * 1024 };
const AWAY = { code: 'storage_unavailable', data: { retryAfterMs: 2_000 } };

async function seqs(storage: Storage, id: string): Promise<number[]> {
  return (await storage.readEvents(id, ALL)).events.map(({ seq }) => seq);
}

/** Whether the store takes writes just now. */
async function takesWrites(storage: Storage): Promise<boolean> {
  const [result] = await Promise.allSettled([storage.probe()]);
  return result?.status === 'fulfilled';
}

async function isRefused(storage: Storage, why: RegExp): Promise<boolean> {
  const [result] = await Promise.allSettled([storage.probe()]);
  return result?.status === 'rejected' && why.test(String(result.reason));
}

function freeze({ pid }: RedisServer): () => void {
  const frozen = pid();
  process.kill(frozen, 'SIGSTOP');
  const thaw = (): void => {
    process.kill(frozen, 'SIGCONT');
  };
  onTestFinished(thaw);
  return thaw;
}

/** The server then knows the scripts, so that it does the next calls without asking for them. */
async function warmUp(storage: Storage): Promise<void> {
  const { record } = await storage.createExecution(recordOf(), eventOf(1));
  await storage.takeOver(record.execution.id, 1, 'instance-a');
  await storage.append({ executionId: record.execution.id, fence: 2, events: [eventOf(2)] });
  await storage.append({ ...finishOf(record, 3), fence: 2 });
}

/** A way to the server that can be cut on this side alone: the server does not learn that the connection is gone. */
async function halfOpenWay({ folder }: RedisServer): Promise<{ url: string; cut: () => void }> {
  const sockets = new Set<Socket>();
  const clients = new Set<Socket>();
  const front = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect(join(folder, 'r.sock'));
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => undefined));
    clients.add(client);
    client.on('data', (chunk: Buffer) => upstream.write(chunk));
    upstream.on('data', (chunk: Buffer) => client.write(chunk)).on('close', () => client.destroy());
  });
  const path = join(folder, 'front.sock');
  await once(front.listen(path), 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    front.close();
  });
  const cut = (): void => {
    for (const client of clients) client.destroy();
  };
  return { url: `unix://${path}`, cut };
}

function recordingLog(): StorageLog & { lines: string[] } {
  const lines: string[] = [];
  return {
    lines,
    warn: (_, message) => lines.push(`warn ${message}`),
    info: (_, message) => lines.push(`info ${message}`),
  };
}

describe.runIf(has('redis'))('trouble with Redis', () => {
  test('after kill -9 of the server nothing that was stored is lost, and what waited is stored in order', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    const { record } = await storage.createExecution(recordOf(), eventOf(1));
    const executionId = record.execution.id;
    const writer = new EventLog(storage).openWriter({ executionId, fence: 1, lastSeq: 1 });
    let stored = 1;
    for (let crash = 0; crash < 5; crash += 1) {
      for (let count = 0; count < 40; count += 1) writer.append('claude.stderr', { text: `x${crash}` });
      const flushed = writer.flush().then(
        () => true,
        () => false,
      );
      await server.kill();
      if (await flushed) stored = writer.lastSeq;
      writer.append('claude.stderr', { text: 'while the server is away' });
      await expect(storage.probe()).rejects.toMatchObject(AWAY);
      await waitUntil('a refusal that names the reason', () => isRefused(storage, /ECONNREFUSED/));
      await server.start();
      await waitUntil('the store to be back', () => takesWrites(storage));
      expect((await seqs(storage, executionId)).length).toBeGreaterThanOrEqual(stored);
    }
    await writer.flush();
    expect(await seqs(storage, executionId)).toEqual(range(1, writer.lastSeq));
  });

  test('while the server loads its data calls are refused with the reason, and a new service waits', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    const { record } = await storage.createExecution(recordOf(), eventOf(1));
    const executionId = record.execution.id;
    await storage.append({ executionId, fence: 1, events: eventsOf(2, 4_000) });
    await server.kill();
    await server.start('--key-load-delay', '300');
    await waitUntil('a refusal that names the reason', () => isRefused(storage, /loading its data/));
    const second = await openOn(server);
    expect(await seqs(second, executionId)).toEqual(range(1, 4_000));
    await waitUntil('the first service to be back', () => takesWrites(storage));
  });

  test('a server that is frozen fails calls, none is kept, and the log tells of it once', async () => {
    const server = await redisServer();
    const log = recordingLog();
    const storage = await openOn(server, { logger: log });
    const thaw = freeze(server);
    await expect(storage.probe()).rejects.toMatchObject(AWAY);
    const refused = await Promise.allSettled(range(1, 20_000).map(() => storage.probe()));
    expect(refused.every(({ status }) => status === 'rejected')).toBe(true);
    thaw();
    await waitUntil('the store to be back', () => takesWrites(storage));
    expect(log.lines).toEqual(['warn Redis is away', 'info Redis is back']);
  });

  test('a server that is paused fails calls, and serves again by itself', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    await server.command('CLIENT', 'PAUSE', 3_000, 'ALL');
    await expect(storage.getExecution('local', 'x')).rejects.toMatchObject(AWAY);
    await waitUntil('the pause to end', () => takesWrites(storage));
  });

  test('an append that was stored although its answer was lost is repeated without harm, and so is an end', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    await warmUp(storage);
    const records = [recordOf(), recordOf(), recordOf()];
    for (const record of records) await storage.createExecution(record, eventOf(1));
    const [growing, ending, other] = records.map(({ execution }) => execution.id);
    const end = finishOf(records[1] ?? expect.fail(), 2);
    const thaw = freeze(server);
    const lost = await Promise.allSettled([
      storage.append({ executionId: growing ?? '', fence: 1, events: eventsOf(2, 4) }),
      storage.append(end),
      storage.append({ executionId: other ?? '', fence: 1, events: eventsOf(2, 2) }),
    ]);
    expect(lost.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    thaw();
    await waitUntil(
      'the lost append to be stored',
      async () => (await server.command('XLEN', `cce:log:${growing}`)) === 4,
    );
    await waitUntil('the store to be back', () => takesWrites(storage));
    await storage.append({ executionId: growing ?? '', fence: 1, events: eventsOf(2, 6) });
    await storage.append(end);
    const different = storage.append({ executionId: other ?? '', fence: 1, events: [eventOf(2, 'different')] });
    await expect(different).rejects.toMatchObject({ code: 'stale_writer' });
    expect(await seqs(storage, growing ?? '')).toEqual(range(1, 6));
    expect(await seqs(storage, ending ?? '')).toEqual([1, 2]);
    const again = storage.append({ executionId: growing ?? '', fence: 1, events: eventsOf(2, 6) });
    await expect(again).rejects.toMatchObject({ code: 'stale_writer' });
  });

  test('a creation and a take-over whose answers were lost have not happened', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    await warmUp(storage);
    const { record: left } = await storage.createExecution(recordOf(), eventOf(1));
    const thaw = freeze(server);
    const lost = await Promise.allSettled([
      storage.createExecution(recordOf({ idempotencyKey: 'k' }), eventOf(1)),
      storage.takeOver(left.execution.id, 1, 'instance-b'),
    ]);
    expect(lost.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    thaw();
    await waitUntil('the store to be back', () => takesWrites(storage));
    expect(await storage.getExecution('local', left.execution.id)).toEqual({ ...left, fence: 2, instanceId: '' });
    expect((await storage.createExecution(recordOf({ idempotencyKey: 'k' }), eventOf(1))).created).toBe(true);
  });

  test('a connection that is lost is ended at the server too, so that nothing of it is done late', async () => {
    const server = await redisServer();
    const way = await halfOpenWay(server);
    const storage = await openOn(way);
    const names = async (): Promise<number> =>
      String(await server.command('CLIENT', 'LIST')).split(' name=cc-executor-').length - 1;
    expect(await names()).toBe(1);
    way.cut();
    await waitUntil('the loss to be noticed', async () => !(await takesWrites(storage)));
    await waitUntil('the store to be back', () => takesWrites(storage));
    expect(await names()).toBe(1);
  });

  test('a server that comes back without the database is not written to', async () => {
    const server = await redisServer('--appendonly', 'no');
    const storage = await openOn({ url: `${server.url}?db=3` }, { allowNoPersistence: true });
    await server.kill();
    await server.start('--databases', '1');
    await waitUntil('a refusal that names the reason', () => isRefused(storage, /DB index/));
    expect(await server.command('DBSIZE')).toBe(0);
    await server.kill();
    await server.start();
    await waitUntil('the store to be back', () => takesWrites(storage));
  });

  test('instances that live do not count as dead after the server was away for longer than a heartbeat lasts', async () => {
    const server = await redisServer();
    const [storage, other] = [await openOn(server), await openOn(server)];
    await other.registerInstance('instance-b');
    await server.command('PEXPIRE', 'cce:instance:instance-b', 1);
    await server.kill();
    await server.start();
    await waitUntil('the store to be back', () => takesWrites(storage));
    expect(await storage.instanceAlive('instance-b')).toBe(true);
    await waitUntil('the heartbeat', async () => (await server.command('EXISTS', 'cce:instance:instance-b')) === 1);
  });
});
