import { setTimeout as delay } from 'node:timers/promises';
import { DelayedError, type Job, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { LiveExecution } from '../executions/live-execution.ts';
import { parseRedisUrl } from '../storage/redis/target.ts';
import { refusalOf, translateError } from '../storage/redis/translate-error.ts';
import { RECOUNT_INTERVAL_MS, recallForgotten } from './forgotten-executions.ts';
import { QUEUE, QueueEntry } from './queue-entry.ts';
import type { QueueWorkerOptions } from './queue-worker.ts';
import { repeatedTrouble } from './repeated-trouble.ts';
import type { SharedQueue } from './shared-queue.ts';
import { type TurnContext, takeTurn } from './take-turn.ts';

/** A worker that does not renew its lock for so long has lost what it took. */
const LOCK_MS = 15_000;
const STALLED_INTERVAL_MS = 5_000;
const RETRY_MS = 1_000;
const MAX_BACK_OFF_MS = 2_000;
const PROBE_INTERVAL_MS = 500;
const CLOSE_LIMIT_MS = 3_000;

/** Takes executions from the queue and runs them; see `startQueueWorker`. */
export class BullWorker {
  readonly #options: QueueWorkerOptions;
  readonly #queue: SharedQueue;
  readonly #client: Redis;
  readonly #worker: Worker<QueueEntry>;
  readonly #running = new Map<string, LiveExecution>();
  readonly #turns = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  readonly #recounts: NodeJS.Timeout;
  readonly #report: (error: unknown) => void;
  /** `backing_off`: Redis refuses writes, and nothing is taken until it takes them again. */
  #state: 'taking' | 'backing_off' | 'paused' = 'taking';

  constructor(options: QueueWorkerOptions, queue: SharedQueue) {
    const { url, concurrency, instanceId, storage, runs, logger } = options;
    const target = parseRedisUrl(url);
    this.#options = options;
    this.#queue = queue;
    this.#report = repeatedTrouble((error, leftOut) => {
      logger.warn({ err: translateError(error, target.shown), leftOut }, 'the queue has trouble');
    });
    // BullMQ waits for Redis by itself: it insists on `maxRetriesPerRequest: null` for what it blocks on.
    this.#client = new Redis({
      ...target.options,
      connectTimeout: CLOSE_LIMIT_MS,
      enableReadyCheck: false,
      maxRetriesPerRequest: null,
      retryStrategy: (times) => Math.min(25 * 2 ** Math.min(times, 10), MAX_BACK_OFF_MS),
    });
    this.#client.on('error', () => {}); // BullMQ's own listener goes before the connection does.
    const context = { storage, runs, instanceId, queue, running: this.#running, stopped: this.#stopped };
    this.#worker = new Worker<QueueEntry>(QUEUE.name, (job, token) => this.#tracked(takeJob(context, job, token)), {
      connection: this.#client,
      prefix: QUEUE.prefix,
      concurrency,
      lockDuration: LOCK_MS,
      stalledInterval: STALLED_INTERVAL_MS,
      maxStalledCount: 0,
      runRetryDelay: RETRY_MS,
      skipVersionCheck: true,
    });
    this.#worker.on('error', (error) => this.#onError(error));
    // It waits in the store still, if it has not started: the next recount puts it back.
    this.#worker.on('failed', (_job, error) => this.#report(error));
    this.#worker.on('lockRenewalFailed', (ids) => void this.#possibly(() => this.#endWhatIsLost(ids)));
    this.#recounts = setInterval(() => void this.#possibly(() => this.#recount()), RECOUNT_INTERVAL_MS).unref();
  }

  load(): { running: number } {
    return { running: this.#running.size };
  }

  pause(): void {
    this.#state = 'paused';
    void this.#possibly(() => this.#worker.pause(true));
  }

  async close(): Promise<void> {
    this.pause();
    clearInterval(this.#recounts);
    await Promise.allSettled(this.#turns);
    this.#closing.abort();
    // Without force it waits for its connections, which do not come while Redis is away, or frozen unseen.
    const away = this.#queue.commands.availableForMs === 0;
    const closed = this.#possibly(() => this.#worker.close(away)).then(() => true);
    const inTime = await Promise.race([closed, delay(CLOSE_LIMIT_MS, false, { ref: false })]);
    if (!inTime) void this.#possibly(() => this.#worker.disconnect());
    this.#client.disconnect();
    await this.#queue.close();
  }

  readonly #stopped = (): boolean => this.#state !== 'taking';

  #tracked<T>(turn: Promise<T>): Promise<T> {
    this.#turns.add(turn);
    const ended = (): boolean => this.#turns.delete(turn);
    turn.then(ended, ended);
    return turn;
  }

  /**
   * BullMQ asks again at once when Redis refuses (measured: thousands of times a second on a full one), so it is paused
   * until a write succeeds. Of a connection that is gone the log knows already.
   */
  #onError(error: Error): void {
    if (this.#closing.signal.aborted || this.#queue.commands.availableForMs === 0) return;
    this.#report(error);
    if (refusalOf(error) !== undefined && this.#state === 'taking') void this.#possibly(() => this.#backOff());
  }

  async #backOff(): Promise<void> {
    this.#state = 'backing_off';
    await this.#worker.pause(true);
    const { signal } = this.#closing;
    do {
      await delay(PROBE_INTERVAL_MS, undefined, { ref: false, signal }).catch(() => {});
    } while (this.#isBackingOff() && !(await this.#takesWrites()));
    if (!this.#isBackingOff()) return;
    this.#state = 'taking';
    await this.#worker.resume();
  }

  #isBackingOff(): boolean {
    return this.#state === 'backing_off';
  }

  #takesWrites(): Promise<boolean> {
    return this.#options.storage.probe().then(
      () => true,
      () => false,
    );
  }

  /** Ends processes of executions that another instance took over while this one was frozen or cut off. */
  async #endWhatIsLost(executionIds: readonly string[]): Promise<void> {
    for (const id of executionIds) {
      const live = this.#running.get(id);
      if (live === undefined) continue;
      const { tenant, fence } = live.record;
      const now = await this.#options.storage.getExecution(tenant, id);
      if (now?.fence === fence) continue;
      live.force.abort();
      live.requestStop({ kind: 'failed', reason: 'worker_lost', text: 'Another service has taken it over.' });
    }
  }

  async #recount(): Promise<void> {
    if (this.#stopped()) return;
    const recalled = await recallForgotten(this.#options.storage, this.#queue);
    if (recalled > 0) this.#options.logger.warn({ recalled }, 'executions that the queue had lost are back in it');
  }

  /** What is done beside the runs; it is tried again in its time. */
  async #possibly(act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#report(error);
    }
  }
}

async function takeJob(context: TurnContext, job: Job<QueueEntry>, token: string | undefined): Promise<void> {
  const againMs = await takeTurn(context, QueueEntry.parse(job.data), job.attemptsStarted);
  if (againMs === undefined) return;
  await job.moveToDelayed(Date.now() + againMs, token);
  throw new DelayedError();
}
