import { ServiceError } from '../protocol/errors.ts';
import type { EventDataOf, EventType, StoredEvent } from '../protocol/events.ts';
import type { Execution } from '../protocol/execution.ts';
import type { Storage } from '../storage/storage.ts';
import { MAX_BATCH_BYTES, type Pending, PendingEvents } from './pending-events.ts';

/** Between batches: short for the first words of an answer, longer in a flood, where each commit waits for the disk. */
const BATCH_INTERVAL_MS = 2;
const FLOOD_INTERVAL_MS = 12;
/** A batch of more events than this is a flood. */
const FLOOD_EVENTS = 16;
const RETRY_INTERVAL_MS = 500;
/** Under it `drained` resolves. Half the disk reserve, so that what waits can be stored with the end on a full disk. */
export const DRAINED_BELOW_BYTES = 512 * 1024;
/** An append past it is refused. Far above `DRAINED_BELOW_BYTES`, so a writer that awaits `drained` never meets it. */
export const MAX_PENDING_BYTES = 96 * 1024 * 1024;

export interface EventWriterOptions {
  executionId: string;
  /** The fence of the record this writer belongs to; see `ExecutionRecord.fence`. */
  fence: number;
  /** The last `seq` already stored. */
  lastSeq: number;
  /** Told once for every outage of the storage, and once when the writer is stale, which is final. */
  onFailure?: (error: unknown) => void;
}

/** What a writer needs from its log. */
export interface EventWriterPort {
  storage: Pick<Storage, 'append'>;
  /** Receives every batch once it is durable, in order. */
  stored: (events: readonly StoredEvent[]) => void;
  /** Told once, when nothing more will come from this writer. */
  ended: () => void;
}

interface Waiter {
  resolve: () => void;
  reject: (error: unknown) => void;
}

/**
 * `open` takes events; `finishing` has its last one queued; `ended` has stored it, or was closed; `stale` lost its
 * execution to another writer.
 */
type WriterState = { kind: 'open' | 'finishing' | 'ended' } | { kind: 'stale'; error: unknown };

/**
 * The one writer of an execution's log. An event gets its `seq` and its bytes at once; queued events are stored in
 * batches, each in one transaction, and shown to subscribers only then.
 */
export class EventWriter {
  readonly #port: EventWriterPort;
  readonly #options: EventWriterOptions;
  readonly #idJson: string;
  #state: WriterState = { kind: 'open' };
  readonly #pending = new PendingEvents();
  #lastSeq: number;
  #storedSeq: number;
  #appendedBytes = 0;
  #failing = false;
  #flooded = false;
  #storing: Promise<void> | undefined;
  #cancelScheduled: (() => void) | undefined;
  #drainWaiters: Waiter[] = [];

  constructor(port: EventWriterPort, options: EventWriterOptions) {
    this.#port = port;
    this.#options = options;
    this.#idJson = JSON.stringify(options.executionId);
    this.#lastSeq = options.lastSeq;
    this.#storedSeq = options.lastSeq;
  }

  /** The `seq` of the newest event, stored or not. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Bytes of events that are not stored yet. */
  get pendingBytes(): number {
    return this.#pending.bytes;
  }

  /** Bytes of all events appended through this writer. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  /**
   * Queues an event, and the record as it is once the event is stored. Returns the event's `seq`.
   * `execution.finished` comes with the finished record and is the last one.
   * @throws ServiceError `stale_writer`; `storage_unavailable` when too much waits for the storage
   */
  append<T extends EventType>(type: T, data: EventDataOf<T>, execution?: Execution): number {
    return this.appendRaw(type, JSON.stringify(data), execution);
  }

  /** Like `append`, with data that is JSON text on one line already; it is stored as it stands. */
  appendRaw(type: EventType, dataJson: string, execution?: Execution): number {
    this.#assertTakes();
    const seq = this.#lastSeq + 1;
    const time = new Date().toISOString();
    const bytes = `{"executionId":${this.#idJson},"seq":${seq},"time":"${time}","type":"${type}","data":${dataJson}}`;
    const size = Buffer.byteLength(bytes);
    this.#pending.add({ event: { seq, type, bytes }, bytes: size, execution });
    this.#lastSeq = seq;
    this.#appendedBytes += size;
    if (type === 'execution.finished') {
      this.#state = { kind: 'finishing' };
    }
    this.#schedule();
    return seq;
  }

  /**
   * Resolves when everything appended so far is stored.
   * @throws ServiceError `storage_unavailable` (what waits is kept; flush again), `stale_writer`
   */
  async flush(): Promise<void> {
    const target = this.#lastSeq;
    // A batch on its way may fail for a cause that is over by now, so its failure is not this call's answer.
    await this.#storing?.catch(() => undefined);
    while (this.#storedSeq < target) {
      if (this.#state.kind === 'stale') {
        throw this.#state.error;
      }
      await this.#store();
    }
  }

  /**
   * Resolves while less than `DRAINED_BELOW_BYTES` wait: await it between reads of the source.
   * @throws ServiceError `stale_writer`
   */
  drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#drainWaiters.push({ resolve, reject });
      this.#settleDrainWaiters();
    });
  }

  /**
   * Forgets what could not be stored, after `flush` failed: nobody has seen it, and the log goes on behind what is
   * stored. For the end of a run on a full disk. Returns how many events are forgotten.
   */
  async discardUnstored(): Promise<number> {
    await this.#storing?.catch(() => undefined);
    const forgotten = this.#pending.clear();
    this.#lastSeq = this.#storedSeq;
    this.#settleDrainWaiters();
    return forgotten;
  }

  /** Stores what waits and gives the log up without finishing it. Rejects like `flush`; the writer is ended anyway. */
  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      this.#end({ kind: 'ended' });
    }
  }

  #assertTakes(): void {
    if (this.#state.kind === 'stale') {
      throw this.#state.error;
    }
    if (this.#state.kind !== 'open') {
      throw new Error(`the log of execution ${this.#options.executionId} has its last event`);
    }
    if (this.#pending.bytes > MAX_PENDING_BYTES) {
      const message = `${this.#pending.bytes} bytes of events wait for the storage; no more are taken.`;
      throw new ServiceError('storage_unavailable', message);
    }
  }

  /** The first event after a pause goes at once, later ones together; after a failure, at a slow pace. */
  #schedule(): void {
    if (this.#cancelScheduled !== undefined || this.#storing !== undefined || this.#pending.count === 0) {
      return;
    }
    const next = (): void => {
      this.#cancelScheduled = undefined;
      // `#store` has told `onFailure`, and keeps what waits.
      this.#store().catch(() => undefined);
    };
    if (this.#failing) {
      const timer = setTimeout(next, RETRY_INTERVAL_MS).unref();
      this.#cancelScheduled = () => clearTimeout(timer);
    } else {
      const immediate = setImmediate(next);
      this.#cancelScheduled = () => clearImmediate(immediate);
    }
  }

  #store(): Promise<void> {
    this.#cancelScheduled?.();
    this.#cancelScheduled = undefined;
    this.#storing ??= this.#storeBatch().finally(() => {
      this.#storing = undefined;
      this.#afterBatch();
    });
    return this.#storing;
  }

  async #storeBatch(): Promise<void> {
    const batch = this.#nextBatch();
    if (batch.length === 0) {
      return;
    }
    const { executionId, fence } = this.#options;
    const events = batch.map((pending) => pending.event);
    const execution = batch.findLast((pending) => pending.execution !== undefined)?.execution;
    try {
      await this.#port.storage.append({ executionId, fence, events, ...(execution && { execution }) });
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    this.#failing = false;
    this.#flooded = batch.length > FLOOD_EVENTS;
    this.#pending.remove(batch);
    this.#storedSeq = events.at(-1)?.seq ?? this.#storedSeq;
    this.#port.stored(events);
    if (this.#state.kind === 'finishing' && this.#pending.count === 0) {
      this.#end({ kind: 'ended' });
    }
    this.#settleDrainWaiters();
  }

  /** With the end of the run in the queue all of it is one batch, which may use the disk space held back for it. */
  #nextBatch(): Pending[] {
    if (this.#state.kind === 'finishing' && this.#pending.bytes < 2 * DRAINED_BELOW_BYTES) {
      return this.#pending.all();
    }
    return this.#pending.nextBatch();
  }

  #afterBatch(): void {
    if (this.#state.kind !== 'open' && this.#state.kind !== 'finishing') {
      return;
    }
    const urgent = this.#failing || this.#pending.bytes > MAX_BATCH_BYTES || this.#state.kind === 'finishing';
    if (urgent) {
      this.#schedule();
      return;
    }
    const timer = setTimeout(
      () => {
        this.#cancelScheduled = undefined;
        this.#schedule();
      },
      this.#flooded ? FLOOD_INTERVAL_MS : BATCH_INTERVAL_MS,
    );
    this.#cancelScheduled = () => clearTimeout(timer);
  }

  #fail(error: unknown): void {
    const stale = error instanceof ServiceError && (error.code === 'stale_writer' || error.code === 'not_found');
    const first = !this.#failing;
    this.#failing = true;
    if (stale) {
      this.#end({ kind: 'stale', error });
    }
    if (first || stale) {
      this.#options.onFailure?.(error);
    }
  }

  #end(state: WriterState): void {
    if (this.#state.kind === 'ended' || this.#state.kind === 'stale') {
      return;
    }
    this.#state = state;
    this.#cancelScheduled?.();
    this.#cancelScheduled = undefined;
    this.#settleDrainWaiters();
    this.#port.ended();
  }

  #settleDrainWaiters(): void {
    const state = this.#state;
    if (state.kind !== 'stale' && this.#pending.bytes >= DRAINED_BELOW_BYTES && state.kind !== 'ended') {
      return;
    }
    for (const waiter of this.#drainWaiters.splice(0)) {
      if (state.kind === 'stale') {
        waiter.reject(state.error);
      } else {
        waiter.resolve();
      }
    }
  }
}
