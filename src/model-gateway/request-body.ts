import type { IncomingMessage } from 'node:http';

/** The longest request that is passed on. */
export const MAX_REQUEST_BYTES = 64 * 1024 * 1024;
/** Requests held in memory by all runs together. */
const MAX_HELD_BYTES = 512 * 1024 * 1024;

export type BodyProblem = 'too_large' | 'too_many';

/**
 * Holds request bodies until they are answered, because a call may have to be sent twice. Bounded per request, and
 * for all of them together.
 */
export class RequestBodies {
  #held = 0;

  /**
   * Reads a body as a whole. What comes after the bound is read and dropped, so that the client can read the answer,
   * up to as much again; then its connection is broken.
   */
  async read(request: IncomingMessage): Promise<{ body: Buffer } | { problem: BodyProblem }> {
    const reading: { chunks: Buffer[]; length: number; kept: number; problem?: BodyProblem } = {
      chunks: [],
      length: 0,
      kept: 0,
    };
    let whole = false;
    try {
      for await (const chunk of request) {
        this.#take(reading, Buffer.from(chunk));
        if (reading.length > 2 * MAX_REQUEST_BYTES) {
          break;
        }
      }
      whole = reading.problem === undefined;
    } finally {
      if (!whole) {
        this.#held -= reading.kept;
      }
    }
    return reading.problem === undefined ? { body: Buffer.concat(reading.chunks) } : { problem: reading.problem };
  }

  #take(reading: { chunks: Buffer[]; length: number; kept: number; problem?: BodyProblem }, bytes: Buffer): void {
    reading.length += bytes.length;
    const problem = reading.problem ?? this.#problemWith(reading.length, bytes.length);
    if (problem !== undefined) {
      reading.problem = problem;
      reading.chunks.length = 0;
      return;
    }
    reading.chunks.push(bytes);
    reading.kept += bytes.length;
    this.#held += bytes.length;
  }

  release(body: Buffer): void {
    this.#held -= body.length;
  }

  #problemWith(length: number, more: number): BodyProblem | undefined {
    if (length > MAX_REQUEST_BYTES) {
      return 'too_large';
    }
    return this.#held + more > MAX_HELD_BYTES ? 'too_many' : undefined;
  }
}
