import type { StoredEvent } from '../protocol/events.ts';

const MAX_BATCHES = 64;
const MAX_BYTES = 1024 * 1024;

/**
 * Batches handed from a writer to one subscription. Bounded: when the reader is too slow for it, everything is
 * dropped and `overflowed` says so; the reader then finds the events in the storage. One batch always fits, and its
 * events are shared with the other readers.
 */
export class LiveBatches {
  #batches: (readonly StoredEvent[])[] = [];
  #bytes = 0;
  #overflowed = false;
  #woken = false;
  #wake: (() => void) | undefined;

  push(batch: readonly StoredEvent[]): void {
    const bytes = batch.reduce((sum, event) => sum + event.bytes.length, 0);
    const full = this.#batches.length >= MAX_BATCHES || this.#bytes + bytes > MAX_BYTES;
    if (this.#overflowed || (full && this.#batches.length > 0)) {
      this.#batches = [];
      this.#bytes = 0;
      this.#overflowed = true;
    } else {
      this.#batches.push(batch);
      this.#bytes += bytes;
    }
    this.wake();
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  /** The oldest batch, if there is one. */
  take(): readonly StoredEvent[] | undefined {
    const batch = this.#batches.shift();
    this.#bytes -= batch?.reduce((sum, event) => sum + event.bytes.length, 0) ?? 0;
    return batch;
  }

  /** Whether batches were dropped since the last call. */
  takeOverflow(): boolean {
    const overflowed = this.#overflowed;
    this.#overflowed = false;
    return overflowed;
  }

  /** One that comes while nobody waits is not lost: the next wait is over at once. */
  wake(): void {
    this.#woken = this.#wake === undefined;
    this.#wake?.();
  }

  /** Resolves when there is something to look at: a batch, an overflow, a call of `wake`, or the time is over. */
  wait(timeoutMs: number | undefined): Promise<void> {
    if (this.#batches.length > 0 || this.#overflowed || this.#woken) {
      this.#woken = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => this.wake(), timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
