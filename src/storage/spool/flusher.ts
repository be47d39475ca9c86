import { setTimeout as delay } from 'node:timers/promises';

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 2_000;

interface FlusherPort {
  /** Whether anything waits for the store. */
  waiting(): boolean;
  /** Tries everything that waits once; whether anything was stored. Never rejects. */
  round(): Promise<boolean>;
}

/** Tries again while something waits, ever more seldom while nothing is stored. */
export class Flusher {
  readonly #port: FlusherPort;
  #state: 'open' | 'stopped' = 'open';
  #running: Promise<void> | undefined;
  #pause = new AbortController();

  constructor(port: FlusherPort) {
    this.#port = port;
  }

  wake(): void {
    if (this.#state === 'stopped' || this.#running !== undefined || !this.#port.waiting()) return;
    this.#running = this.#work().finally(() => {
      this.#running = undefined;
      this.wake();
    });
  }

  /** Tries at once, and resolves when nothing waits any more, or the time is over. */
  async flushWithin(limitMs: number): Promise<void> {
    this.wake();
    this.#pause.abort();
    const over = new AbortController();
    const limit = delay(limitMs, undefined, { signal: over.signal });
    try {
      await Promise.race([this.#running, limit.catch(ignoreAbort)]);
    } finally {
      over.abort();
    }
  }

  /** Tries no more; resolves when the round under way is over. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#pause.abort();
    await this.#running;
  }

  async #work(): Promise<void> {
    for (let waitMs = FIRST_WAIT_MS; this.#port.waiting(); ) {
      this.#pause = new AbortController();
      await delay(waitMs, undefined, { signal: this.#pause.signal }).catch(ignoreAbort);
      if (this.#state === 'stopped') return;
      const stored = await this.#port.round();
      waitMs = stored ? FIRST_WAIT_MS : Math.min(2 * waitMs, LONGEST_WAIT_MS);
    }
  }
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error) || error.name !== 'AbortError') throw error;
}
