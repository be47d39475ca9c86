import { claimKeys } from '../executions/dispatcher.ts';
import type { LiveExecution } from '../executions/live-execution.ts';
import type { Runs } from '../executions/runs.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { ExecutionRecord, Storage } from '../storage/storage.ts';
import type { QueueEntry } from './queue-entry.ts';
import type { SharedQueue } from './shared-queue.ts';
import { enterLines, placesAhead } from './waiting-lines.ts';

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 2_000;
/** So that a long line does not keep everybody busy: who leaves it calls the next. */
const MAX_DELAY_FACTOR = 15;
const UNAVAILABLE_DELAY_MS = 1_000;

export interface TurnContext {
  storage: Storage;
  runs: Pick<Runs, 'adopt' | 'run'>;
  instanceId: string;
  queue: SharedQueue;
  /** What runs here, by its id. */
  running: Map<string, LiveExecution>;
  /** Whether nothing more is to start here. */
  stopped(): boolean;
}

/**
 * Runs an execution that came to the head of the queue, to its end, if it still waits and nothing older wants its
 * session or directory. That no execution runs twice is up to the store: whoever takes a record over raises its fence,
 * and starts nothing before it has stored `running` under it.
 * @param tries which time it came to the head, from 1
 * @returns in how many ms it is to be looked at again; `undefined` when the queue is done with it
 */
export async function takeTurn(context: TurnContext, entry: QueueEntry, tries: number): Promise<number | undefined> {
  const taken = await takeIfFree(context, entry, tries).catch((error: unknown) => {
    if (error instanceof ServiceError && error.code === 'storage_unavailable') return UNAVAILABLE_DELAY_MS;
    throw error;
  });
  if (typeof taken !== 'object') return taken;
  const { runs, running } = context;
  const live = runs.adopt(taken);
  running.set(entry.executionId, live);
  try {
    await runs.run(live);
  } finally {
    running.delete(entry.executionId);
    await letGo(context, entry);
  }
  return undefined;
}

async function takeIfFree(
  context: TurnContext,
  entry: QueueEntry,
  tries: number,
): Promise<ExecutionRecord | number | undefined> {
  const { storage, instanceId, queue } = context;
  const { executionId, tenant } = entry;
  const stored = await storage.readExecution(tenant, executionId);
  if (stored === undefined || stored.state === 'finished') await queue.leave(entry);
  if (stored?.state !== 'queued') return undefined;
  const ahead = await placesAhead(queue.commands, storage, entry);
  if (ahead !== undefined && ahead > 0) return delayMs(tries, ahead);
  const record = await storage.getExecution(tenant, executionId);
  if (record?.execution.state !== 'queued' || context.stopped()) return FIRST_DELAY_MS;
  if (ahead === undefined) {
    await enterLines(queue.commands, record);
    return FIRST_DELAY_MS;
  }
  const holder = await storage.claim(claimKeys(record), { executionId, instanceId });
  if (holder !== undefined) return delayMs(tries, 1);
  // Taken over meanwhile: by who cancels it, by a worker, or by who found its owner dead and leaves it to the queue.
  return (await storage.takeOver(executionId, record.fence, instanceId)) ?? delayMs(tries, 1);
}

/** Claims under the execution's id are another's when that one has taken it over; those of a finished one bind nobody. */
async function letGo({ storage, instanceId, queue }: TurnContext, entry: QueueEntry): Promise<void> {
  try {
    const now = await storage.getExecution(entry.tenant, entry.executionId);
    const finished = now === undefined || now.execution.state === 'finished';
    if (finished || now.instanceId === instanceId) await storage.releaseClaims(entry.executionId);
    if (finished) await queue.leave(entry);
  } catch (error) {
    if (!(error instanceof ServiceError && error.code === 'storage_unavailable')) throw error;
  }
}

function delayMs(tries: number, ahead: number): number {
  const once = Math.min(FIRST_DELAY_MS * 2 ** Math.min(tries - 1, 10), MAX_DELAY_MS);
  return once * Math.min(ahead, MAX_DELAY_FACTOR);
}
