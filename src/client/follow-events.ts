import { ERRORS, ServiceError } from '../protocol/errors.ts';
import type { StoredEvent } from '../protocol/events.ts';
import type { EventsOptions } from './executor-client.ts';
import { notRunning, type ServerAddress } from './server-address.ts';

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5_000;
/** What a service may ask a client to wait, at most. */
const MAX_ASKED_DELAY_MS = 60_000;
/** A connection that held so long was good, even if nothing came. */
const GOOD_CONNECTION_MS = 10_000;

/**
 * One connection: an empty batch when it stands, then the events after `after` as they come. It returns when nothing
 * can follow, and throws a retryable ServiceError when it is lost or `signal` aborts.
 */
export type OpenEvents = (after: number, signal: AbortSignal) => AsyncIterable<readonly StoredEvent[]>;

/**
 * The events after a cursor, in order, each once, over as many connections as it takes. Ends after
 * `execution.finished`, or when `signal` aborts.
 * @throws ServiceError what is not retryable; `not_running` when reconnecting has had no success for `giveUpAfterMs`
 */
export async function* followEvents(
  server: ServerAddress,
  open: OpenEvents,
  options: EventsOptions & { signal: AbortSignal },
): AsyncGenerator<readonly StoredEvent[], void, undefined> {
  const { signal } = options;
  const outage = new Outage(server, options);
  let last = options.after;
  while (!signal.aborted) {
    try {
      for await (const batch of open(last, signal)) {
        const fresh = following(batch, last);
        const newest = fresh.at(-1);
        outage.connected(newest !== undefined);
        if (newest === undefined) continue;
        last = newest.seq;
        yield fresh;
        if (newest.type === 'execution.finished') return;
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      await outage.wait(retryable(error));
    }
  }
}

/** Throws what will not pass. */
function retryable(error: unknown): ServiceError {
  if (error instanceof ServiceError && ERRORS[error.code].retryable) return error;
  throw error;
}

/** What is new of a batch. An event that is missing is as good as a lost connection: it is asked for again. */
function following(batch: readonly StoredEvent[], last: number): StoredEvent[] {
  const fresh: StoredEvent[] = [];
  for (const event of batch) {
    const expected = last + 1 + fresh.length;
    if (event.seq > expected) {
      throw new ServiceError('not_running', `The event ${expected} is missing in what the service sent`);
    }
    if (event.seq === expected) fresh.push(event);
  }
  return fresh;
}

/** The time between a lost connection and the next good one. */
class Outage {
  readonly #server: ServerAddress;
  readonly #options: EventsOptions;
  #tries = 0;
  #told = false;
  #lastGood = performance.now();
  #connectedAt: number | undefined;

  constructor(server: ServerAddress, options: EventsOptions) {
    this.#server = server;
    this.#options = options;
  }

  connected(progress: boolean): void {
    this.#connectedAt ??= performance.now();
    if (progress) this.#good();
  }

  #good(): void {
    this.#lastGood = performance.now();
    this.#tries = 0;
    this.#told = false;
  }

  /** Waits before the next try; the cursor does not move meanwhile. */
  async wait(error: ServiceError): Promise<void> {
    const now = performance.now();
    if (this.#connectedAt !== undefined && now - this.#connectedAt > GOOD_CONNECTION_MS) this.#good();
    this.#connectedAt = undefined;
    const { giveUpAfterMs } = this.#server.patience;
    const backOff = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#tries) * (0.5 + Math.random() / 2);
    const delay = Math.max(backOff, Math.min(error.data.retryAfterMs ?? 0, MAX_ASKED_DELAY_MS));
    if (now - this.#lastGood + delay > giveUpAfterMs) {
      throw notRunning(this.#server, `no events for ${giveUpAfterMs / 1000} s; at last: ${error.message}`, error);
    }
    this.#tries += 1;
    if (!this.#told) this.#options.onReconnect?.(error.message);
    this.#told = true;
    await sleep(delay, this.#options.signal);
  }
}

/** Resolves after `ms`, or when `signal` aborts. */
export async function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
  });
}
