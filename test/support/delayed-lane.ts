import type { Socket } from 'node:net';

/** What waits on the way, in bytes, before nothing more is read. */
const MAX_HELD_BYTES = 1024 * 1024;

/** One direction of a connection: passes bytes on in order, each `delayMs` after it came, or lets them vanish. */
export class DelayedLane {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #held: { bytes: Buffer; dueAt: number }[] = [];
  #heldBytes = 0;
  #delayMs = 0;
  #swallows = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
    from.on('data', (bytes: Buffer) => this.#received(bytes));
    to.on('drain', () => from.resume());
  }

  /** What is held already goes on at once when it becomes 0. */
  set delayMs(delayMs: number) {
    this.#delayMs = delayMs;
    if (delayMs === 0) this.#pass(Number.POSITIVE_INFINITY);
  }

  swallow(): void {
    this.#swallows = true;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#held.length = 0;
  }

  #received(bytes: Buffer): void {
    if (this.#swallows) return;
    if (this.#delayMs === 0 && this.#held.length === 0) {
      if (!this.#to.write(bytes)) this.#from.pause();
      return;
    }
    this.#held.push({ bytes, dueAt: performance.now() + this.#delayMs });
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > MAX_HELD_BYTES) this.#from.pause();
    this.#timer ??= setTimeout(() => this.#due(), this.#delayMs);
  }

  #due(): void {
    this.#timer = undefined;
    this.#pass(performance.now());
    const [next] = this.#held;
    if (next !== undefined) this.#timer = setTimeout(() => this.#due(), Math.max(1, next.dueAt - performance.now()));
  }

  #pass(until: number): void {
    for (let [next] = this.#held; next !== undefined && next.dueAt <= until; [next] = this.#held) {
      this.#held.shift();
      this.#heldBytes -= next.bytes.length;
      if (!this.#swallows && !this.#to.destroyed) this.#to.write(next.bytes);
    }
    if (this.#heldBytes <= MAX_HELD_BYTES) this.#from.resume();
  }
}
