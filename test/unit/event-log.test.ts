// promise: P6

import { describe, expect, test } from 'vitest';
import { EventLog } from '../../src/event-log/event-log.ts';
import { newId } from '../../src/protocol/ids.ts';
import { eventLogFixture, range, readSeqs } from '../support/event-log-fixture.ts';
import { eventsOf, finishedOf, finishOf, KEEP_ALL, SUCCEEDED } from '../support/execution-records.ts';

const FINISHED = { outcome: SUCCEEDED, receiptId: null };
const TEXT = { text: 'x'.repeat(2_000) };

describe('subscribe', () => {
  test('a reader that comes before, during or after the run sees the same events, and its iteration ends', async () => {
    const { log, create } = await eventLogFixture();
    const { execution } = await create();
    const writer = log.openWriter({ executionId: execution.id, fence: 1, lastSeq: 1 });
    const before = readSeqs(log.subscribe(execution.id, { after: 0 }));
    for (let count = 0; count < 100; count += 1) {
      writer.append('claude.stderr', TEXT);
    }
    await writer.flush();
    const during = readSeqs(log.subscribe(execution.id, { after: 50 }));
    writer.append('execution.finished', FINISHED, finishedOf(execution));
    await writer.flush();
    expect(await before).toEqual(range(1, 102));
    expect(await during).toEqual(range(51, 102));
    expect(await readSeqs(log.subscribe(execution.id, { after: 0 }))).toEqual(range(1, 102));
    expect(await readSeqs(log.subscribe(execution.id, { after: 102 }))).toEqual([]);
  });

  test('an event is shown only when it is stored', async () => {
    const { log, storage, create } = await eventLogFixture();
    const { execution } = await create();
    const writer = log.openWriter({ executionId: execution.id, fence: 1, lastSeq: 1 });
    const stored: number[] = [];
    const reading = (async () => {
      for await (const batch of log.subscribe(execution.id, { after: 1 })) {
        const page = await storage.readEvents(execution.id, { after: 0, limit: 1, maxBytes: 1 });
        stored.push(page.lastSeq - (batch.at(-1)?.seq ?? 0));
      }
    })();
    for (let count = 0; count < 50; count += 1) {
      writer.append('claude.stderr', TEXT);
      await writer.flush();
    }
    writer.append('execution.finished', FINISHED, finishedOf(execution));
    await reading;
    expect(stored.every((ahead) => ahead >= 0)).toBe(true);
    expect(stored.length).toBeGreaterThan(0);
  });

  test('a reader that stops between batches holds nothing, and goes on from the storage', async () => {
    const { log, create } = await eventLogFixture();
    const { execution } = await create();
    const writer = log.openWriter({ executionId: execution.id, fence: 1, lastSeq: 1 });
    const reader = log.subscribe(execution.id, { after: 0 });
    const seen = (await reader.next()).value?.map((event) => event.seq) ?? [];
    for (let count = 0; count < 2_000; count += 1) {
      writer.append('claude.stderr', TEXT);
      await writer.drained();
    }
    writer.append('execution.finished', FINISHED, finishedOf(execution));
    await writer.flush();
    seen.push(...(await readSeqs(reader)));
    expect(seen).toEqual(range(1, 2_002));
  });

  test('a log that another process writes is followed to its end', async () => {
    const { log, storage, create } = await eventLogFixture();
    const record = await create();
    const { id } = record.execution;
    const reading = readSeqs(log.subscribe(id, { after: 0 }));
    await storage.append({ executionId: id, fence: 1, events: eventsOf(2, 3) });
    await storage.append(finishOf(record, 4));
    expect(await reading).toEqual([1, 2, 3, 4]);
  });

  test('a reader misses nothing when a writer opens here for a log that was written elsewhere', async () => {
    const { log, storage, create } = await eventLogFixture();
    const { execution } = await create();
    const reader = log.subscribe(execution.id, { after: 0 });
    const seen = (await reader.next()).value?.map((event) => event.seq) ?? [];
    const next = reader.next();
    await storage.append({ executionId: execution.id, fence: 1, events: eventsOf(2, 3) });
    const writer = log.openWriter({ executionId: execution.id, fence: 1, lastSeq: 3 });
    writer.append('claude.stderr', TEXT);
    await writer.flush();
    seen.push(...((await next).value?.map((event) => event.seq) ?? []));
    writer.append('execution.finished', FINISHED, finishedOf(execution));
    seen.push(...(await readSeqs(reader)));
    expect(seen).toEqual([1, 2, 3, 4, 5]);
  });

  test('a reader outlives a writer that another one replaced', async () => {
    const { log, storage, create } = await eventLogFixture();
    const { execution } = await create();
    const { id } = execution;
    const first = log.openWriter({ executionId: id, fence: 1, lastSeq: 1 });
    const reading = readSeqs(log.subscribe(id, { after: 0 }));
    first.append('claude.stderr', TEXT);
    await first.flush();
    await storage.takeOver(id, 1, 'instance-b');
    const second = new EventLog(storage).openWriter({ executionId: id, fence: 2, lastSeq: 2 });
    second.append('claude.stderr', TEXT);
    await second.flush();
    first.append('claude.stderr', TEXT);
    await expect(first.flush()).rejects.toMatchObject({ code: 'stale_writer' });
    second.append('execution.finished', FINISHED, finishedOf(execution));
    await second.flush();
    expect(await reading).toEqual([1, 2, 3, 4]);
  });

  test('a cursor ahead of the log, before its start, or of no log at all is refused with the facts', async () => {
    const { log, storage, create } = await eventLogFixture();
    const record = await create();
    const { id } = record.execution;
    const future = readSeqs(log.subscribe(id, { after: 2 }));
    await expect(future).rejects.toMatchObject({ code: 'cursor_in_future', data: { lastSeq: 1 } });
    await expect(readSeqs(log.subscribe(newId(), { after: 0 }))).rejects.toMatchObject({ code: 'not_found' });
    await storage.append({ executionId: id, fence: 1, events: eventsOf(2, 9) });
    await storage.append(finishOf(record, 10));
    await storage.applyRetention({ ...KEEP_ALL, maxLogBytes: 0 });
    const old = readSeqs(log.subscribe(id, { after: 8 }));
    await expect(old).rejects.toMatchObject({ code: 'truncated_before', data: { firstSeq: 10 } });
    expect(await readSeqs(log.subscribe(id, { after: 9 }))).toEqual([10]);
  });

  test.for([{ written: 'here' }, { written: 'elsewhere' }])(
    'an abort ends the iteration quietly while it waits for a log written $written',
    async ({ written }) => {
      const { log, create } = await eventLogFixture();
      const { execution } = await create();
      if (written === 'here') {
        log.openWriter({ executionId: execution.id, fence: 1, lastSeq: 1 });
      }
      const controller = new AbortController();
      const reader = log.subscribe(execution.id, { after: 0, signal: controller.signal });
      await reader.next();
      const waiting = reader.next();
      controller.abort();
      expect(await waiting).toEqual({ value: undefined, done: true });
      expect(await readSeqs(log.subscribe(execution.id, { after: 0, signal: controller.signal }))).toEqual([]);
    },
  );
});
