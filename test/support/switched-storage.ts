import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { ServiceError } from '../../src/protocol/errors.ts';
import type { StorageLog } from '../../src/storage/redis/connection.ts';
import { passedThrough } from '../../src/storage/spool/passed-through.ts';
import { spoolingStorage } from '../../src/storage/spool/spooling-storage.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { ExecutionRecord, Storage } from '../../src/storage/storage.ts';
import { eventOf, recordOf } from './execution-records.ts';
import { waitUntil } from './processes.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** `away`: nothing is done. `mute`: it is done, and the answer is lost. */
export type Availability = 'there' | 'away' | 'mute';

export interface Switch {
  availability: Availability;
  /** Of appends alone; `availability` counts for the others. */
  appends: Availability | undefined;
}

function unavailable(): ServiceError {
  return new ServiceError('storage_unavailable', 'The store is switched off.');
}

/** The store, with a switch on what a run's writer, its claims and the flusher call. */
export function switchable(storage: Storage): { storage: Storage; state: Switch } {
  const state: Switch = { availability: 'there', appends: undefined };
  const through = async <T>(availability: Availability, call: () => Promise<T>): Promise<T> => {
    if (availability === 'away') throw unavailable();
    const answer = await call();
    if (availability === 'mute') throw unavailable();
    return answer;
  };
  const append = <T>(call: () => Promise<T>): Promise<T> => through(state.appends ?? state.availability, call);
  const switched: Storage = {
    ...passedThrough(storage),
    append: (value) => append(() => storage.append(value)),
    updateExecution: (id, fence, execution) => append(() => storage.updateExecution(id, fence, execution)),
    takeOver: (id, fence, by) => through(state.availability, () => storage.takeOver(id, fence, by)),
    releaseClaims: (id) => through(state.availability, () => storage.releaseClaims(id)),
    probe: () => through(state.availability, () => storage.probe()),
  };
  return { storage: switched, state };
}

export interface RecordingLog extends StorageLog {
  lines: { level: 'warn' | 'info'; message: string; fields: object }[];
}

export function recordingLog(): RecordingLog {
  const lines: RecordingLog['lines'] = [];
  return {
    lines,
    warn: (fields, message) => lines.push({ level: 'warn', message, fields }),
    info: (fields, message) => lines.push({ level: 'info', message, fields }),
  };
}

export type Spooling = Awaited<ReturnType<typeof spoolingStorage>>;

/** `spoolingStorage` over a store, closed with it when the running test ends. */
export async function spoolOn(
  storage: Storage,
  options: { folder: string; maxBytes?: number; logger?: StorageLog },
): Promise<Spooling> {
  const spooling = await spoolingStorage(storage, { maxBytes: 64 * 1024 * 1024, logger: recordingLog(), ...options });
  onTestFinished(() => spooling.close());
  return spooling;
}

export interface SpoolFixture {
  /** The store itself, whatever the switch says. */
  inner: Storage;
  state: Switch;
  folder: string;
  log: RecordingLog;
  spooling: Spooling;
  /** Stores an execution with event 1. */
  create(): Promise<ExecutionRecord>;
  emptied(): Promise<void>;
}

export async function spoolFixture(options: { maxBytes?: number } = {}): Promise<SpoolFixture> {
  const dataDirectory = await temporaryFolder();
  const inner = await openSqliteStorage({ dataDirectory });
  const { storage, state } = switchable(inner);
  const folder = join(dataDirectory, 'spool');
  const log = recordingLog();
  const spooling = await spoolOn(storage, { folder, logger: log, ...options });
  const create = async (): Promise<ExecutionRecord> => (await inner.createExecution(recordOf(), eventOf(1))).record;
  const emptied = async (): Promise<void> => {
    await waitUntil('the spool to be empty', () => spooling.spooling() === 0);
  };
  return { inner, state, folder, log, spooling, create, emptied };
}
