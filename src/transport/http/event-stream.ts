import type { ServerResponse } from 'node:http';
import { ServiceError } from '../../protocol/errors.ts';
import type { StoredEvent } from '../../protocol/events.ts';

/** A reader that takes nothing for so long is let go; it comes back with the last id it has seen. */
const STALLED_MS = 10_000;
/** Long events are handed over in pieces, so that one that takes long is told from one that is not taken. */
const PIECE = 64 * 1024;
const KEEP_ALIVE_MS = 15_000;
/** What the browser waits before it connects again, in ms. */
const RETRY_MS = 1_000;

export interface StreamEnds {
  /** The reader is gone, or is to be sent on. */
  signal: AbortSignal;
  draining: AbortSignal;
  drainMs: number;
}

/**
 * Sends events as an event stream (WHATWG HTML, section 9.2) until they end or `signal` aborts. Nothing is queued: the next
 * events are asked for when the reader has taken the ones before. An empty `id` is never sent, so that the reader's cursor
 * is always the last event. Events that end with a ServiceError, as where the store is away, end the stream.
 */
export async function sendEventStream(
  response: ServerResponse,
  events: AsyncIterable<readonly StoredEvent[]>,
  { signal, draining, drainMs }: StreamEnds,
): Promise<void> {
  response.write(`retry: ${RETRY_MS}\n\n`);
  let between = true;
  let notice = '';
  /** Never in the middle of an event. */
  const say = (text: string): void => {
    if (between) response.write(text);
    else notice = text;
  };
  const keepAlive = setInterval(() => {
    if (between && !response.writableNeedDrain) say(':\n\n');
  }, KEEP_ALIVE_MS);
  const tellDraining = (): void => say(`event: server.draining\ndata: ${JSON.stringify({ drainMs })}\n\n`);
  if (draining.aborted) tellDraining();
  else draining.addEventListener('abort', tellDraining);
  try {
    for await (const batch of events) {
      between = false;
      for (const piece of pieces(batch)) {
        if (signal.aborted || !(await taken(response, piece))) return;
      }
      between = true;
      if (notice !== '') say(notice);
      notice = '';
    }
  } catch (error) {
    // The head is sent, so that the end of the stream is all that can be said; the reader asks again, and is told why.
    if (!(error instanceof ServiceError)) throw error;
  } finally {
    clearInterval(keepAlive);
    draining.removeEventListener('abort', tellDraining);
    endOrDestroy(response);
  }
}

/** An event's bytes hold no line break: JSON has none. */
function* pieces(batch: readonly StoredEvent[]): Generator<Buffer, void, undefined> {
  const frames = batch.map(({ seq, type, bytes }) => `id: ${seq}\nevent: ${type}\ndata: ${bytes}\n\n`);
  const all = Buffer.from(frames.join(''));
  for (let at = 0; at < all.length; at += PIECE) yield all.subarray(at, at + PIECE);
}

/** Resolves with false when the reader has gone, or takes nothing. */
function taken(response: ServerResponse, piece: Buffer): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false);
  if (response.write(piece)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const done = (result: boolean): void => {
      clearTimeout(timer);
      response.off('drain', onDrain).off('close', onClose);
      resolve(result);
    };
    const onDrain = (): void => done(true);
    const onClose = (): void => done(false);
    const timer = setTimeout(() => done(false), STALLED_MS);
    response.once('drain', onDrain).once('close', onClose);
  });
}

/** What a stalled reader has not taken would keep an orderly end waiting for ever. */
function endOrDestroy(response: ServerResponse): void {
  if (response.writableNeedDrain) response.destroy();
  else response.end();
}
