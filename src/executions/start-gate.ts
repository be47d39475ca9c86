import { availableParallelism } from 'node:os';

/** Who starts: a run that somebody waits for, or a process that is to wait for one. */
export type Rank = 'run' | 'spare';
/** Gives the place back; later calls change nothing. */
export type Leave = () => void;

/** After this time a start is no longer counted, whether it has printed anything or not. */
const START_LIMIT_MS = 5_000;

/**
 * Lets few processes start at once. A start is work for a whole core (some 0.45 s of CPU, measured with 2.1.330), so
 * more at a time would make all of them late and none earlier. A place is held from the spawn to the first output.
 * Runs go in before spares, each first come first served.
 */
export class StartGate {
  readonly #places: number;
  readonly #waiting: Record<Rank, Set<() => void>> = { run: new Set(), spare: new Set() };
  #inside = 0;

  constructor(places: number = availableParallelism()) {
    this.#places = places;
  }

  /** Resolves once a process may start; `undefined` when `signal` aborted first. */
  enter(rank: Rank, signal: AbortSignal): Promise<Leave | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    const waiting = this.#waiting[rank];
    return new Promise((resolve) => {
      const giveUp = (): void => {
        waiting.delete(admit);
        resolve(undefined);
      };
      const admit = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve(this.#take());
      };
      waiting.add(admit);
      signal.addEventListener('abort', giveUp, { once: true });
      this.#admit();
    });
  }

  #admit(): void {
    while (this.#inside < this.#places) {
      const queue = this.#waiting.run.size > 0 ? this.#waiting.run : this.#waiting.spare;
      const [next] = queue;
      if (next === undefined) return;
      queue.delete(next);
      next();
    }
  }

  #take(): Leave {
    this.#inside += 1;
    let leave: Leave | undefined = () => {
      leave = undefined;
      clearTimeout(limit);
      this.#inside -= 1;
      this.#admit();
    };
    const limit = setTimeout(() => leave?.(), START_LIMIT_MS).unref();
    return () => leave?.();
  }
}
