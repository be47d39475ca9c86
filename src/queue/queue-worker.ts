import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Runs } from '../executions/runs.ts';
import type { Storage } from '../storage/storage.ts';
import { BullWorker } from './bull-worker.ts';
import { repeatedTrouble } from './repeated-trouble.ts';
import { SharedQueue } from './shared-queue.ts';

const OPEN_RETRY_MS = 500;

export interface QueueWorkerOptions {
  /** The address of the Redis server that is the store, too. */
  url: string;
  /** How many executions run here at once. */
  concurrency: number;
  instanceId: string;
  storage: Storage;
  runs: Pick<Runs, 'adopt' | 'run'>;
  logger: Logger;
}

export interface QueueWorker {
  /** How many run here. */
  load(): { running: number };
  /** Takes no more; what runs goes on. */
  pause(): void;
  /** Takes no more, waits for what runs here (`Executions.close` ends it), and leaves the queue. */
  close(): Promise<void>;
}

/**
 * Takes executions from the queue and runs them here, once Redis is reached. A worker that dies leaves those that had
 * started to the recovery, which ends them as `lost`; those that had not are put back into the queue by another worker.
 */
export function startQueueWorker(options: QueueWorkerOptions): QueueWorker {
  const pausing = new AbortController();
  let worker: BullWorker | undefined;
  const started = openUntil(options, pausing.signal).then((queue) => {
    if (queue !== undefined) worker = new BullWorker(options, queue);
    if (pausing.signal.aborted) worker?.pause();
  });
  const pause = (): void => {
    pausing.abort();
    worker?.pause();
  };
  return {
    load: () => worker?.load() ?? { running: 0 },
    pause,
    close: async () => {
      pause();
      await started;
      await worker?.close();
    },
  };
}

async function openUntil(options: QueueWorkerOptions, signal: AbortSignal): Promise<SharedQueue | undefined> {
  const report = repeatedTrouble((err) => options.logger.warn({ err }, 'the queue cannot be reached'));
  while (!signal.aborted) {
    try {
      return await SharedQueue.open(options.url);
    } catch (error) {
      report(error);
    }
    // It rejects for the one reason that nothing is to be taken any more.
    await delay(OPEN_RETRY_MS, undefined, { signal, ref: false }).catch(() => {});
  }
  return undefined;
}
