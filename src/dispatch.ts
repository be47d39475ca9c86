import type { Logger } from 'pino';
import type { Config } from './config.ts';
import type { Dispatcher } from './executions/dispatcher.ts';
import { InProcessDispatcher } from './executions/in-process-dispatcher.ts';
import type { ControlRequest, RemoteControl } from './executions/remote-control.ts';
import type { Runs } from './executions/runs.ts';
import type { Execution } from './protocol/execution.ts';
import { openControlChannel } from './queue/control-channel.ts';
import { openQueueDispatcher } from './queue/queue-dispatcher.ts';
import { type QueueWorker, startQueueWorker } from './queue/queue-worker.ts';
import type { Storage } from './storage/storage.ts';

export interface Dispatch {
  dispatcher: Dispatcher;
  /** The way to executions of other processes; undefined where there can be none. */
  control: RemoteControl | undefined;
  /** Takes executions from the shared queue from now on: at the end of a start, which would end them if it failed. */
  begin(): void;
  close(): Promise<void>;
}

interface Parts {
  storage: Storage;
  runs: Runs;
  instanceId: string;
  logger: Logger;
  /** Whether runs could be started here at all. */
  canRun: boolean;
  /** Does what another process asks of an execution that runs here. */
  onControl(request: ControlRequest): Promise<Execution>;
}

/** Where executions wait and run: in this process, or with `REDIS_URL` on the queue that several processes share. */
export async function openDispatch(config: Config, parts: Parts): Promise<Dispatch> {
  return config.redisUrl === undefined ? ownDispatch(config, parts) : sharedDispatch(config, config.redisUrl, parts);
}

function ownDispatch(config: Config, { storage, runs, instanceId, logger }: Parts): Dispatch {
  const onError = (error: unknown): void => logger.error({ err: error }, 'an execution failed inside the service');
  const dispatcher = new InProcessDispatcher({ ...config, storage, runs, instanceId, onError });
  return { dispatcher, control: undefined, begin: () => {}, close: async () => {} };
}

/** Each role has a queue to put into and a channel to ask over; one that is `api` alone takes nothing out of the queue. */
async function sharedDispatch(config: Config, url: string, parts: Parts): Promise<Dispatch> {
  const { storage, runs, instanceId, logger, canRun, onControl } = parts;
  const queue = await openQueueDispatcher({ url, queueLimit: config.queueLimit, logger });
  const control = await openControlChannel({ url, instanceId, handle: onControl, logger }).catch(async (error) => {
    await queue.close();
    throw error;
  });
  const concurrency = config.maxConcurrent;
  // One that has no `claude` or no credential would fail what another worker could run; it is not ready, and says why.
  const takes = config.role !== 'api' && canRun;
  let worker: QueueWorker | undefined;
  const dispatcher: Dispatcher = {
    kind: queue.kind,
    assertRoom: () => queue.assertRoom(),
    dispatch: (record) => queue.dispatch(record),
    startsAtOnce: () => false,
    queuePosition: (id) => queue.queuePosition(id),
    withdraw: (id) => queue.withdraw(id),
    ended: (record) => queue.ended(record),
    stop: () => {
      queue.stop();
      worker?.pause();
    },
    load: () => ({ running: worker?.load().running ?? 0, waiting: queue.load().waiting }),
  };
  return {
    dispatcher,
    control,
    begin: () => {
      if (takes) worker = startQueueWorker({ url, concurrency, instanceId, storage, runs, logger });
    },
    close: async () => {
      await worker?.close();
      await control.close();
      await queue.close();
    },
  };
}
