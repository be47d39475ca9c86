import { ServiceError } from '../protocol/errors.ts';
import type { ExecutionRecord, Storage } from '../storage/storage.ts';
import { claimKeys, type Dispatcher } from './dispatcher.ts';
import type { LiveExecution } from './live-execution.ts';
import type { Runs } from './runs.ts';
import type { Spare } from './warm-spare.ts';

/** What waits is held in memory with its prompt. */
const MAX_WAITING_BYTES = 256 * 1024 * 1024;
/** How often a run that waits for another process's session or workspace looks again. */
const CLAIM_RETRY_MS = 200;

export interface InProcessOptions {
  storage: Storage;
  runs: Pick<Runs, 'adopt' | 'run'>;
  instanceId: string;
  maxConcurrent: number;
  queueLimit: number;
  onError(error: unknown): void;
}

/**
 * Runs executions in this process: highest priority first, then oldest; at most `maxConcurrent` at once; one at a
 * time in each workspace and each session, in order, also against other processes on the same data folder.
 */
export class InProcessDispatcher implements Dispatcher {
  readonly kind = 'own';
  readonly #options: InProcessOptions;
  readonly #waiting: LiveExecution[] = [];
  #waitingBytes = 0;
  #running = 0;
  #state: 'idle' | 'starting' | 'start_again' | 'stopped' = 'idle';
  #retry: NodeJS.Timeout | undefined;

  constructor(options: InProcessOptions) {
    this.#options = options;
  }

  async assertRoom(): Promise<void> {
    const { queueLimit } = this.#options;
    const long = this.#waitingBytes > MAX_WAITING_BYTES;
    if (this.#waiting.length < queueLimit && !long) return;
    const what = long
      ? `The executions that wait have more than ${MAX_WAITING_BYTES} bytes`
      : `${queueLimit} executions wait already`;
    throw new ServiceError('queue_full', `${what}; try again later`, {
      data: { retryAfterMs: 5_000 },
    });
  }

  async dispatch(record: ExecutionRecord, spare?: Spare): Promise<void> {
    const live = this.#options.runs.adopt(record, spare);
    const { priority } = record.request;
    const at = this.#waiting.findIndex((other) => other.record.request.priority < priority);
    this.#waiting.splice(at === -1 ? this.#waiting.length : at, 0, live);
    this.#waitingBytes += sizeOf(live);
    this.#startSoon();
  }

  startsAtOnce(): boolean {
    return !this.#stopped() && this.#waiting.length === 0 && this.#running < this.#options.maxConcurrent;
  }

  async queuePosition(executionId: string): Promise<number | null> {
    const at = this.#waiting.findIndex((live) => live.execution.id === executionId);
    return at === -1 ? null : at + 1;
  }

  async withdraw(executionId: string): Promise<boolean> {
    return this.#take(executionId);
  }

  #take(executionId: string): boolean {
    const at = this.#waiting.findIndex((live) => live.execution.id === executionId);
    const [live] = at === -1 ? [] : this.#waiting.splice(at, 1);
    if (live === undefined) return false;
    this.#waitingBytes -= sizeOf(live);
    return true;
  }

  async ended(): Promise<void> {
    this.#startSoon();
  }

  stop(): void {
    this.#state = 'stopped';
    clearTimeout(this.#retry);
  }

  load(): { running: number; waiting: number } {
    return { running: this.#running, waiting: this.#waiting.length };
  }

  #startSoon(): void {
    if (this.#state === 'stopped') return;
    if (this.#state !== 'idle') {
      this.#state = 'start_again';
      return;
    }
    this.#state = 'starting';
    this.#start().catch(this.#options.onError);
  }

  async #start(): Promise<void> {
    do {
      this.#state = 'starting';
      await this.#startWhatCan();
    } while (this.#needsAnotherRound());
    if (this.#stopped()) return;
    this.#state = 'idle';
    clearTimeout(this.#retry);
    if (this.#waiting.length > 0 && this.#running < this.#options.maxConcurrent) {
      this.#retry = setTimeout(() => this.#startSoon(), CLAIM_RETRY_MS);
    }
  }

  #needsAnotherRound(): boolean {
    return this.#state === 'start_again';
  }

  #stopped(): boolean {
    return this.#state === 'stopped';
  }

  /** A key that an earlier execution waits for is not given to a later one. */
  async #startWhatCan(): Promise<void> {
    const { storage, instanceId, maxConcurrent } = this.#options;
    const blocked = new Set<string>();
    for (const live of [...this.#waiting]) {
      if (this.#running >= maxConcurrent || this.#stopped()) return;
      const keys = claimKeys(live.record);
      const executionId = live.execution.id;
      const free = !keys.some((key) => blocked.has(key));
      if (free && (await storage.claim(keys, { executionId, instanceId })) === undefined) {
        this.#run(live);
      } else {
        for (const key of keys) blocked.add(key);
      }
    }
  }

  #run(live: LiveExecution): void {
    if (this.#stopped() || !this.#take(live.execution.id)) {
      this.#release(live).catch(this.#options.onError);
      return;
    }
    this.#running += 1;
    this.#options.runs
      .run(live)
      .catch(this.#options.onError)
      .then(() => this.#release(live))
      .catch(this.#options.onError)
      .finally(() => {
        this.#running -= 1;
        this.#startSoon();
      });
  }

  async #release(live: LiveExecution): Promise<void> {
    await this.#options.storage.releaseClaims(live.execution.id);
  }
}

function sizeOf({ record }: LiveExecution): number {
  return JSON.stringify(record.request).length;
}
