import type { EventLog } from '../event-log/event-log.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { StoredEvent } from '../protocol/events.ts';
import type { ExecutionRecord, Storage, Tenant } from '../storage/storage.ts';
import type { Runs } from './runs.ts';

/** What reading a log takes. */
export interface Reading {
  storage: Storage;
  eventLog: EventLog;
  runs: Runs;
}

interface Log {
  id: string;
  tenant: Tenant;
}

/** @throws ServiceError `not_found` */
export async function storedExecution(storage: Storage, { id, tenant }: Log): Promise<ExecutionRecord> {
  const record = await storage.getExecution(tenant, id);
  if (record === undefined) throw new ServiceError('not_found', `There is no execution ${id}`);
  return record;
}

/** See `Executions.events`. */
export async function* followEvents(
  { storage, eventLog, runs }: Reading,
  { after, signal }: { after: number; signal?: AbortSignal },
  log: Log,
): AsyncGenerator<readonly StoredEvent[], void, undefined> {
  await storedExecution(storage, log);
  const givenUp = runs.find(log.id, log.tenant)?.givenUp.signal;
  const signals = [signal, givenUp].filter((one) => one !== undefined);
  yield* eventLog.subscribe(log.id, { after, signal: AbortSignal.any(signals) });
  if (!givenUp?.aborted) return;
  const message = `The end of execution ${log.id} could not be stored; the next start ends it as lost`;
  throw new ServiceError('storage_unavailable', message);
}

/** See `Executions.page`. */
export async function readPage(
  reading: Reading,
  options: { after: number; limit: number; signal: AbortSignal },
  log: Log,
): Promise<{ events: readonly StoredEvent[]; finished: boolean }> {
  await storedExecution(reading.storage, log);
  const { events, lastSeq, finished } = await reading.eventLog.page(log.id, options);
  const atEnd = (events.at(-1)?.seq ?? lastSeq) === lastSeq;
  if (events.length > 0 || finished) return { events, finished: finished && atEnd };
  for await (const batch of followEvents(reading, options, log)) {
    const first = batch.slice(0, options.limit);
    return { events: first, finished: first.at(-1)?.type === 'execution.finished' };
  }
  return { events: [], finished: false };
}

/** See `Executions.assertCursor`. */
export async function assertCursor(
  { storage, eventLog }: Reading,
  after: number,
  log: Log,
): Promise<{ atEnd: boolean }> {
  await storedExecution(storage, log);
  const { lastSeq, finished } = await eventLog.page(log.id, { after, limit: 1 });
  return { atEnd: finished && after === lastSeq };
}
