import type { StoredEvent } from '../protocol/events.ts';
import type { Execution } from '../protocol/execution.ts';

const MAX_BATCH_EVENTS = 1_000;
export const MAX_BATCH_BYTES = 256 * 1024;

/** An event that waits for the storage, and the record as it is once the event is stored. */
export interface Pending {
  event: StoredEvent;
  bytes: number;
  execution: Execution | undefined;
}

/** The events of one writer that are not stored yet, oldest first. */
export class PendingEvents {
  #queue: Pending[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#queue.length;
  }

  add(pending: Pending): void {
    this.#queue.push(pending);
    this.#bytes += pending.bytes;
  }

  all(): Pending[] {
    return [...this.#queue];
  }

  /** The oldest ones, as many as one transaction takes; at least one if there is any. */
  nextBatch(): Pending[] {
    let bytes = 0;
    let count = 0;
    for (const pending of this.#queue) {
      bytes += pending.bytes;
      if (count > 0 && (bytes > MAX_BATCH_BYTES || count >= MAX_BATCH_EVENTS)) break;
      count += 1;
    }
    return this.#queue.slice(0, count);
  }

  /** Removes a batch, which is the oldest ones, once it is stored. */
  remove(batch: readonly Pending[]): void {
    this.#queue.splice(0, batch.length);
    for (const { bytes } of batch) this.#bytes -= bytes;
  }

  /** Forgets all. Returns how many they were. */
  clear(): number {
    const forgotten = this.#queue.length;
    this.#queue = [];
    this.#bytes = 0;
    return forgotten;
  }
}
