import { onTestFinished } from 'vitest';
import { EventLog } from '../../src/event-log/event-log.ts';
import type { StoredEvent } from '../../src/protocol/events.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { ExecutionRecord, Storage } from '../../src/storage/storage.ts';
import { eventOf, recordOf } from './execution-records.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface EventLogFixture {
  dataDirectory: string;
  storage: Storage;
  log: EventLog;
  /** Stores an execution with event 1. */
  create(): Promise<ExecutionRecord>;
}

/** An event log over an empty store; closed and removed when the running test ends. */
export async function eventLogFixture(): Promise<EventLogFixture> {
  const dataDirectory = await temporaryFolder();
  const storage = await openSqliteStorage({ dataDirectory });
  onTestFinished(() => storage.close());
  const create = async (): Promise<ExecutionRecord> => (await storage.createExecution(recordOf(), eventOf(1))).record;
  return { dataDirectory, storage, log: new EventLog(storage), create };
}

/** Reads until the iteration ends, or `enough` events are there; returns their `seq`. */
export async function readSeqs(batches: AsyncIterable<readonly StoredEvent[]>, enough = Infinity): Promise<number[]> {
  const seqs: number[] = [];
  for await (const batch of batches) {
    seqs.push(...batch.map((event) => event.seq));
    if (seqs.length >= enough) {
      break;
    }
  }
  return seqs;
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
}
