/** The longest delay that setTimeout takes, in ms. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/**
 * A timer on the monotonic clock that can be paused and pushed back. `touch` is cheap: it moves the deadline and
 * leaves the running timeout alone, so it may be called for every line of output.
 */
export class PausableTimer {
  readonly #durationMs: number;
  readonly #onElapsed: () => void;
  #timeout: NodeJS.Timeout | undefined;
  #deadline = 0;
  #remainingMs: number;
  #state: 'idle' | 'running' | 'paused' = 'idle';

  constructor(durationMs: number, onElapsed: () => void) {
    this.#durationMs = durationMs;
    this.#onElapsed = onElapsed;
    this.#remainingMs = durationMs;
  }

  start(): void {
    if (this.#state !== 'idle') return;
    this.#run();
  }

  /** The whole duration counts again from now; an elapsed timer starts again. */
  touch(): void {
    this.#remainingMs = this.#durationMs;
    if (this.#state === 'running') this.#deadline = performance.now() + this.#durationMs;
    if (this.#state === 'idle') this.#run();
  }

  pause(): void {
    if (this.#state !== 'running') return;
    this.#remainingMs = Math.max(0, this.#deadline - performance.now());
    clearTimeout(this.#timeout);
    this.#state = 'paused';
  }

  resume(): void {
    if (this.#state === 'paused') this.#run();
  }

  stop(): void {
    clearTimeout(this.#timeout);
    this.#state = 'idle';
    this.#remainingMs = this.#durationMs;
  }

  #run(): void {
    this.#state = 'running';
    this.#deadline = performance.now() + this.#remainingMs;
    this.#arm();
  }

  #arm(): void {
    const leftMs = this.#deadline - performance.now();
    this.#timeout = setTimeout(() => this.#elapse(), Math.min(Math.max(0, leftMs), MAX_DELAY_MS));
  }

  #elapse(): void {
    if (this.#deadline - performance.now() > 0.5) {
      this.#arm();
      return;
    }
    this.stop();
    this.#onElapsed();
  }
}
