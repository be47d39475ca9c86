// promise: P9

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EventLog } from '../../src/event-log/event-log.ts';
import type { EventWriter } from '../../src/event-log/event-writer.ts';
import type { StoredEvent } from '../../src/protocol/events.ts';
import { openRedisStorage } from '../../src/storage/redis/redis-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { has } from '../support/capabilities.ts';
import { range } from '../support/event-log-fixture.ts';
import { eventOf, eventsOf, finishedOf, finishOf, recordOf, SUCCEEDED } from '../support/execution-records.ts';
import { waitUntil } from '../support/processes.ts';
import { openOn, redisServer } from '../support/redis-server.ts';
import { recordingLog, spoolOn, switchable } from '../support/switched-storage.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const OUTAGE_MS = 3_000;

async function eventsIn(storage: Storage, id: string): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  for (;;) {
    const page = await storage.readEvents(id, { after: events.length, limit: 5_000, maxBytes: 8 * 1024 * 1024 });
    events.push(...page.events);
    if (events.length === page.lastSeq) return events;
  }
}

interface Run {
  id: string;
  writer: EventWriter;
  /** What readers of this process have been given. */
  shown: StoredEvent[];
}

/** Executions with a writer, and a reader in this process, for each. */
async function startRuns(storage: Storage, count: number): Promise<{ runs: Run[]; readers: Promise<void> }> {
  const log = new EventLog(storage);
  const leave = new AbortController();
  onTestFinished(() => leave.abort());
  const readers: Promise<void>[] = [];
  const runs: Run[] = [];
  for (let made = 0; made < count; made += 1) {
    const { record } = await storage.createExecution(recordOf(), eventOf(1));
    const id = record.execution.id;
    const run: Run = { id, writer: log.openWriter({ executionId: id, fence: 1, lastSeq: 1 }), shown: [] };
    const read = async (): Promise<void> => {
      for await (const events of log.subscribe(id, { after: 0, signal: leave.signal })) run.shown.push(...events);
    };
    readers.push(read());
    runs.push(run);
  }
  await waitUntil('the readers to follow', () => runs.every(({ shown }) => shown.length === 1));
  return { runs, readers: Promise.all(readers).then(() => undefined) };
}

/** Every run writes until `over`, and then ends. */
async function writeUntil(over: Promise<unknown>, { runs, storage }: { runs: Run[]; storage: Storage }): Promise<void> {
  let state: 'under way' | 'over' = 'under way';
  const isUnderWay = (): boolean => state === 'under way';
  const write = async ({ id, writer }: Run): Promise<void> => {
    for (let count = 0; isUnderWay() || count === 0; count += 1) {
      writer.append('claude.stderr', { text: `${count}`.repeat(count % 300) });
      await writer.drained();
      await delay(5);
    }
    const record = await storage.getExecution('local', id);
    const execution = finishedOf(record?.execution ?? expect.fail());
    writer.append('execution.finished', { outcome: SUCCEEDED, receiptId: null }, execution);
    await writer.flush();
  };
  const writing = Promise.all(runs.map(write));
  await over;
  state = 'over';
  await writing;
}

async function expectWhole(other: Storage, runs: Run[]): Promise<void> {
  for (const { id, writer, shown } of runs) {
    const stored = await eventsIn(other, id);
    expect(stored.map(({ seq }) => seq)).toEqual(range(1, writer.lastSeq));
    expect(stored).toEqual(shown);
    expect((await other.getExecution('local', id))?.execution.state).toBe('finished');
  }
}

describe.runIf(has('redis'))('trouble with Redis while runs go on', () => {
  test('after kill -9 in the middle of 50 runs every log is whole, and as its readers saw it', async () => {
    const server = await redisServer();
    const log = recordingLog();
    const folder = await temporaryFolder();
    const spooling = await spoolOn(await openRedisStorage({ url: server.url }), { folder, logger: log });
    const { runs, readers } = await startRuns(spooling, 50);
    const outage = async (): Promise<void> => {
      await waitUntil('all to write', () => runs.every(({ shown }) => shown.length > 3));
      await server.kill();
      await waitUntil('all to be spooled', () => spooling.spooling() === 50);
      const before = runs.map(({ shown }) => shown.length);
      await delay(OUTAGE_MS);
      expect(runs.every(({ shown }, at) => shown.length > (before[at] ?? 0))).toBe(true);
      await server.start();
      await waitUntil('the spool to be empty, though all go on writing', () => spooling.spooling() === 0);
    };
    await writeUntil(outage(), { runs, storage: spooling });
    await readers;
    await expectWhole(await openOn(server), runs);
    expect(log.lines.map(({ message }) => message)).toEqual([
      'the store is away; events are spooled to the disk',
      'the spool is empty',
    ]);
    expect(log.lines[1]?.fields).toMatchObject({ executions: 50, rejected: 0 });
  });

  test('a server that is frozen and thawed has every event once, also those whose answers were lost', async () => {
    const server = await redisServer();
    const folder = await temporaryFolder();
    const spooling = await spoolOn(await openRedisStorage({ url: server.url }), { folder });
    const { runs, readers } = await startRuns(spooling, 10);
    const outage = async (): Promise<void> => {
      await waitUntil('all to write', () => runs.every(({ shown }) => shown.length > 3));
      const pid = server.pid();
      onTestFinished(() => void process.kill(pid, 'SIGCONT'));
      process.kill(pid, 'SIGSTOP');
      await waitUntil('all to be spooled', () => spooling.spooling() === 10);
      process.kill(pid, 'SIGCONT');
      await waitUntil('the spool to be empty, though all go on writing', () => spooling.spooling() === 0);
    };
    await writeUntil(outage(), { runs, storage: spooling });
    await readers;
    await expectWhole(await openOn(server), runs);
  });

  test('a server that is full takes what was spooled when it has room again', async () => {
    const server = await redisServer();
    const spooling = await spoolOn(await openRedisStorage({ url: server.url }), { folder: await temporaryFolder() });
    const { record } = await spooling.createExecution(recordOf(), eventOf(1));
    const executionId = record.execution.id;
    await server.command('CONFIG', 'SET', 'maxmemory', 1);
    await spooling.append({ executionId, fence: 1, events: eventsOf(2, 40) });
    await spooling.append(finishOf(record, 41));
    expect(spooling.spooling()).toBe(1);
    await server.command('CONFIG', 'SET', 'maxmemory', 0);
    await waitUntil('the spool to be empty', () => spooling.spooling() === 0);
    expect((await eventsIn(spooling, executionId)).map(({ seq }) => seq)).toEqual(range(1, 41));
  });

  test('an execution that another service has ended meanwhile, or that the server has lost, is set aside', async () => {
    const server = await redisServer();
    const { storage, state } = switchable(await openRedisStorage({ url: server.url }));
    const folder = await temporaryFolder();
    const spooling = await spoolOn(storage, { folder });
    const other = await openOn(server);
    const [ended, lost] = [recordOf(), recordOf()];
    for (const record of [ended, lost]) await other.createExecution(record, eventOf(1));
    state.availability = 'away';
    for (const { execution } of [ended, lost]) {
      await spooling.append({ executionId: execution.id, fence: 1, events: eventsOf(2, 9) });
    }
    await other.takeOver(ended.execution.id, 1, 'instance-b');
    await other.append({ ...finishOf(ended, 2), fence: 2 });
    await server.command('DEL', `cce:execution:${lost.execution.id}`, `cce:log:${lost.execution.id}`);
    state.availability = 'there';
    await waitUntil('the spool to be empty', () => spooling.spooling() === 0);
    expect((await eventsIn(other, ended.execution.id)).map(({ seq }) => seq)).toEqual([1, 2]);
    for (const { execution } of [ended, lost]) {
      expect(existsSync(join(folder, `${execution.id}.refused`))).toBe(true);
      const late = spooling.append({ executionId: execution.id, fence: 1, events: [eventOf(10)] });
      await expect(late).rejects.toMatchObject({ code: 'stale_writer' });
    }
  });
});
