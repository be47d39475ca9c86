import type { Reading } from './usage-reading.ts';
import { UsageReading } from './usage-reading.ts';

const NEWLINE = 10;
/** `message_start` and `message_delta` frames are far shorter; what is longer is not read. */
const MAX_FRAME_BYTES = 256 * 1024;
/** Enough of a delta's line to find where its text starts. */
const HEAD_BYTES = 256;

/**
 * Reads model, usage and stop reason off a stream of the Messages API while it passes. Only `message_start` and
 * `message_delta` are parsed; of other frames the first 256 bytes are looked at, so that memory does not grow with
 * the stream. A stream cut off before `message_delta` counts a quarter of its text's bytes as output tokens.
 */
export class SseMeter {
  readonly #reading = new UsageReading();
  #event = '';
  #pieces: Buffer[] = [];
  #kept = 0;
  #length = 0;
  #textBytes = 0;

  feed(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      if (this.#length === 0) {
        // Nearly all lines come in one piece: they are looked at where they lie.
        this.#line(chunk.subarray(start, end), end - start);
      } else {
        this.#take(chunk.subarray(start, end));
        this.#endLine();
      }
      start = end + 1;
    }
    this.#take(chunk.subarray(start));
  }

  read(): Reading {
    return this.#reading.read(Math.ceil(this.#textBytes / 4));
  }

  #take(bytes: Buffer): void {
    const limit = this.#limit();
    if (bytes.length > 0 && this.#kept < limit) {
      const piece = Buffer.from(bytes.subarray(0, limit - this.#kept));
      this.#pieces.push(piece);
      this.#kept += piece.length;
    }
    this.#length += bytes.length;
  }

  #endLine(): void {
    const kept = Buffer.concat(this.#pieces);
    const length = this.#length;
    this.#pieces = [];
    this.#kept = 0;
    this.#length = 0;
    this.#line(kept, length);
  }

  /** @param kept the line, or its beginning; `length` bytes long in all */
  #line(kept: Buffer, length: number): void {
    const limit = this.#limit();
    const line = kept.toString('utf8', 0, limit).trimEnd();
    if (line === '') {
      this.#event = '';
    } else if (line.startsWith('event:')) {
      this.#event = line.slice(6).trim();
    } else if (line.startsWith('data:')) {
      this.#takeData(line.slice(5), { length, whole: length <= limit });
    }
  }

  #limit(): number {
    return this.#event === 'content_block_delta' ? HEAD_BYTES : MAX_FRAME_BYTES;
  }

  #takeData(data: string, line: { length: number; whole: boolean }): void {
    const event = this.#event === '' ? /^\s*\{\s*"type"\s*:\s*"(\w+)"/.exec(data)?.[1] : this.#event;
    if (event === 'content_block_delta') {
      const text = /"(?:text|thinking|partial_json)"\s*:\s*"/.exec(data);
      const overhead = text === null ? line.length : 'data:'.length + text.index + text[0].length + '"}}'.length;
      this.#textBytes += Math.max(0, line.length - overhead);
    } else if ((event === 'message_start' || event === 'message_delta') && line.whole) {
      this.#reading.takeEvent(data);
    }
  }
}
