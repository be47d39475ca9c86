import { z } from 'zod';
import { Uuid } from '../protocol/uuid.ts';

/**
 * The one BullMQ queue of a store. Its keys are `cce:queue:…`, each job's is `cce:queue:ID`. Beside them lie, each of
 * which is gone 30 days after its last use:
 *
 * | key | kind | holds |
 * | --- | --- | --- |
 * | `cce:queue-line:CLAIM` | sorted set | who waits for, or has, what a claim stands for: `ID TENANT`; all scores are 0 |
 * | `cce:queue-lines:ID` | set | the lines an execution stands in |
 * | `cce:queue-shares:PRIORITY` | sorted set | the round of each tenant's next execution of that priority; see `fairPriority` |
 * | `cce:queue-recount` | string | that a worker has looked for forgotten executions a moment ago |
 */
export const QUEUE = { name: 'queue', prefix: 'cce' } as const;

/** All that a job holds: prompts stay in the store. */
export const QueueEntry = z.object({ executionId: Uuid, tenant: z.string() });
export type QueueEntry = z.infer<typeof QueueEntry>;

/** BullMQ's key for a part of the queue (`wait`, `prioritized`, `delayed`), or for a job by its id. */
export function queueKey(part: string): string {
  return `${QUEUE.prefix}:${QUEUE.name}:${part}`;
}

/** After so long unused, keys beside the queue are forgotten: no execution may run for longer. */
export const FORGET_AFTER_S = 30 * 24 * 3600;
