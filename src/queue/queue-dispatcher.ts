import type { Logger } from 'pino';
import type { Dispatcher } from '../executions/dispatcher.ts';
import { ServiceError } from '../protocol/errors.ts';
import { SharedQueue } from './shared-queue.ts';

const DEPTH_INTERVAL_MS = 1_000;

export interface QueueDispatcherOptions {
  /** The address of the Redis server that is the store, too. */
  url: string;
  /** How many executions may wait in all. */
  queueLimit: number;
  logger: Logger;
}

export type QueueDispatcher = Dispatcher & { kind: 'shared'; close(): Promise<void> };

/**
 * Lets executions wait in a queue that every worker on the store takes from: highest priority first, within one fairly
 * between tenants (`fairPriority`), then oldest. An execution is in the queue once. It holds the order, not the truth:
 * a worker believes the record.
 *
 * While Redis is away, `assertRoom` throws `storage_unavailable` within 2 s, a position is unknown (null), and nothing
 * can be withdrawn (false; a worker drops what has ended). `dispatch` does not throw: what is dispatched is stored and so
 * accepted, and workers put what is stored and not in the queue there within 15 s.
 * @throws ServiceError `storage_unavailable` when Redis does not answer
 */
export async function openQueueDispatcher(options: QueueDispatcherOptions): Promise<QueueDispatcher> {
  const { url, queueLimit, logger } = options;
  const queue = await SharedQueue.open(url, logger);
  let depth = 0;
  const count = async (): Promise<number> => {
    depth = await queue.depth();
    return depth;
  };
  const timer = setInterval(() => void ifAvailable(count, depth), DEPTH_INTERVAL_MS).unref();
  return {
    kind: 'shared',
    assertRoom: async () => {
      if ((await count()) < queueLimit) return;
      throw new ServiceError('queue_full', `${queueLimit} executions wait already; try again later`, {
        data: { retryAfterMs: 5_000 },
      });
    },
    dispatch: async (record) => {
      const added = await ifAvailable(() => queue.add(record).then(() => true), false);
      if (!added) logger.debug({ executionId: record.execution.id }, 'an execution is put into the queue later');
    },
    startsAtOnce: () => false,
    queuePosition: (executionId) => ifAvailable(() => queue.position(executionId), null),
    withdraw: (executionId) => ifAvailable(() => queue.withdraw(executionId), false),
    ended: ({ execution, tenant }) => ifAvailable(() => queue.leave({ executionId: execution.id, tenant }), undefined),
    stop: () => {},
    load: () => ({ running: 0, waiting: depth }),
    close: async () => {
      clearInterval(timer);
      await queue.close();
    },
  };
}

async function ifAvailable<T>(act: () => Promise<T>, otherwise: T): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'storage_unavailable') return otherwise;
    throw error;
  }
}
