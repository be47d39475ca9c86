// promise: P6

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventLog } from '../../src/event-log/event-log.ts';
import type { EventWriter } from '../../src/event-log/event-writer.ts';
import type { StoredEvent } from '../../src/protocol/events.ts';
import { eventLogFixture, range } from '../support/event-log-fixture.ts';
import { finishedOf, SUCCEEDED } from '../support/execution-records.ts';

type Step =
  | { kind: 'append'; count: number; size: number }
  | { kind: 'flush' | 'turn' }
  | { kind: 'read'; cursor: number; pace: number; elsewhere: boolean };

const Steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 200 }), size: sizes() }),
    fc.record({ kind: fc.constantFrom('flush' as const, 'turn' as const) }),
    fc.record({
      kind: fc.constant('read' as const),
      cursor: fc.double({ min: 0, max: 1, noNaN: true }),
      pace: fc.integer({ min: 0, max: 5 }),
      elsewhere: fc.boolean(),
    }),
  ),
  { minLength: 3, maxLength: 20 },
);

function sizes(): fc.Arbitrary<number> {
  return fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 0, max: 400 }) }, fc.constantFrom(5_000, 20_000));
}

/** Reads to the end, with `pace` turns of the event loop after every batch. */
async function read(batches: AsyncIterable<readonly StoredEvent[]>, pace: number): Promise<number[]> {
  const seqs: number[] = [];
  for await (const batch of batches) {
    seqs.push(...batch.map((event) => event.seq));
    for (let turns = 0; turns < pace; turns += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return seqs;
}

async function write(writer: EventWriter, step: Extract<Step, { kind: 'append' }>): Promise<void> {
  for (let count = 0; count < step.count; count += 1) {
    writer.append('claude.stderr', { text: 'x'.repeat(step.size) });
    await writer.drained();
  }
}

interface Reader {
  after: number;
  seqs: Promise<number[]>;
}

test('whatever the order of appends, flushes and readers, each reader sees what follows its cursor, once, in order', async () => {
  const { log, storage, create } = await eventLogFixture();
  const elsewhere = new EventLog(storage);

  const startReader = async (id: string, step: Extract<Step, { kind: 'read' }>): Promise<Reader> => {
    const { lastSeq } = await storage.readEvents(id, { after: 0, limit: 1, maxBytes: 1 });
    const after = Math.floor(step.cursor * lastSeq);
    const batches = (step.elsewhere ? elsewhere : log).subscribe(id, { after });
    return { after, seqs: read(batches, step.pace) };
  };
  const run = async (steps: Step[]): Promise<void> => {
    const { execution } = await create();
    const writer = log.openWriter({ executionId: execution.id, fence: 1, lastSeq: 1 });
    const readers: Reader[] = [];
    for (const step of steps) {
      if (step.kind === 'append') {
        await write(writer, step);
      } else if (step.kind === 'read') {
        readers.push(await startReader(execution.id, step));
      } else {
        await (step.kind === 'flush' ? writer.flush() : new Promise((resolve) => setImmediate(resolve)));
      }
    }
    const finished = { outcome: SUCCEEDED, receiptId: null };
    const last = writer.append('execution.finished', finished, finishedOf(execution));
    for (const reader of readers) {
      expect(await reader.seqs).toEqual(range(reader.after + 1, last));
    }
    await writer.flush();
  };

  await fc.assert(fc.asyncProperty(Steps, run), { numRuns: 40 });
});
