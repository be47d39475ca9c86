import type { Storage } from '../storage/storage.ts';
import type { QueueEntry } from './queue-entry.ts';
import type { SharedQueue } from './shared-queue.ts';

/** One worker looks, not all of them. */
export const RECOUNT_INTERVAL_MS = 10_000;
const BATCH = 500;

/**
 * Puts executions into the queue that wait in the store and are not in it: the service that accepted them ended or lost
 * Redis between the two, a worker died that had taken them and not started, or Redis lost its last writes.
 * @returns how many
 */
export async function recallForgotten(storage: Storage, queue: SharedQueue): Promise<number> {
  const turn = await queue.commands.call('SET', ['cce:queue-recount', '1', 'NX', 'PX', RECOUNT_INTERVAL_MS - 1_000]);
  if (turn !== 'OK') return 0;
  const waiting = (await storage.listUnfinished()).filter(({ state }) => state === 'queued');
  let recalled = 0;
  for (let at = 0; at < waiting.length; at += BATCH) {
    const batch = waiting.slice(at, at + BATCH);
    const missing = new Set(await queue.missing(batch.map(({ id }) => id)));
    for (const { tenant, id } of batch) {
      if (missing.has(id) && (await recall(storage, queue, { tenant, executionId: id }))) {
        recalled += 1;
      }
    }
  }
  return recalled;
}

/** Puts one into the queue if it still waits for its start. */
async function recall(storage: Storage, queue: SharedQueue, { tenant, executionId }: QueueEntry): Promise<boolean> {
  const record = await storage.getExecution(tenant, executionId);
  if (record?.execution.state !== 'queued') return false;
  await queue.add(record);
  return true;
}
