import type { Reading } from './usage-reading.ts';
import { UsageReading } from './usage-reading.ts';

/** A longer answer is passed on, but its usage is estimated. */
const MAX_BYTES = 32 * 1024 * 1024;

/** Reads usage off an answer that is not streamed, once it has passed as a whole. */
export class JsonMeter {
  readonly #chunks: Buffer[] = [];
  #length = 0;
  #ended: Reading | undefined;

  feed(chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#length <= MAX_BYTES) {
      this.#chunks.push(chunk);
    } else {
      this.#chunks.length = 0;
    }
  }

  /** What a whole answer says, after its last chunk. */
  end(): void {
    const reading = new UsageReading();
    reading.takeMessage(Buffer.concat(this.#chunks).toString());
    this.#chunks.length = 0;
    this.#ended = reading.read(this.#estimate());
  }

  read(): Reading {
    return this.#ended ?? new UsageReading().read(this.#estimate());
  }

  #estimate(): number {
    return Math.ceil(this.#length / 4);
  }
}
