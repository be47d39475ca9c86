/** A text message, or a part of it. */
export interface Fragment {
  data: Buffer;
  /** Whether the message ends with it. */
  last: boolean;
}

/** What a connection needs of its socket. */
export interface Socket {
  /** Calls `done` when the operating system has taken it, never before `send` has returned. */
  send(fragment: Fragment, done: (error?: Error | null) => void): void;
  /** Starts the close handshake, behind everything that was sent. */
  close(code: number, reason: string): void;
  terminate(): void;
  /** No longer reads; what was read already may still arrive. */
  pause(): void;
  resume(): void;
}

export interface OutboundLimits {
  /** What may wait behind the frame in flight, in bytes. */
  maxQueuedBytes: number;
  /** How long nothing may be taken from a full queue, in ms. */
  stallAfterMs: number;
  /** How long the close handshake may take, in ms. */
  closeWithinMs: number;
}

export const OUTBOUND_LIMITS: OutboundLimits = {
  maxQueuedBytes: 8 * 1024 * 1024,
  stallAfterMs: 5_000,
  closeWithinMs: 30_000,
};

/** Small frames are in flight together, up to this many bytes. */
const CHUNK_BYTES = 64 * 1024;
/** Longer frames go out in fragments, so that a slow reader of a long one is seen to read. */
const FRAGMENT_BYTES = 256 * 1024;

interface Waiter {
  bytes: number;
  resolve(): void;
}

/** The bounded queue of frames that a connection is yet to send. */
export class Outbound {
  readonly #socket: Socket;
  readonly #events: { onStalled(): void; onTaken(): void };
  readonly #limits: OutboundLimits;
  #frames: Buffer[] = [];
  /** Where the queue starts in `#frames`: taking from the front of a long array would copy it. */
  #head = 0;
  #queuedBytes = 0;
  /** What is left of a frame that goes out in fragments; it does not count as queued. */
  #rest: Buffer | undefined;
  #inFlightBytes = 0;
  readonly #waiters: Waiter[] = [];
  #granting = false;
  #state: 'open' | 'ended' = 'open';
  #stalled: NodeJS.Timeout | undefined;
  #closing: NodeJS.Timeout | undefined;

  /**
   * @param events `onStalled`: the queue is full and nothing was taken from it for `stallAfterMs`; `onTaken`: there may
   * be room again
   */
  constructor(
    socket: Socket,
    events: { onStalled(): void; onTaken(): void },
    limits: OutboundLimits = OUTBOUND_LIMITS,
  ) {
    this.#socket = socket;
    this.#events = events;
    this.#limits = limits;
  }

  get full(): boolean {
    return this.#queuedBytes >= this.#limits.maxQueuedBytes;
  }

  /** Whether a frame of so many bytes may be queued now. One of any size may when nothing waits. */
  hasRoom(bytes: number): boolean {
    return this.#waiters.length === 0 && !this.#granting && this.#fits(bytes);
  }

  /**
   * Resolves when there is room, in the order of asking, and when the queue has ended. The room is there for what is
   * queued right behind the `await`.
   */
  room(bytes: number): Promise<void> {
    if (this.#state === 'ended' || this.hasRoom(bytes)) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push({ bytes, resolve });
      this.#watch();
    });
  }

  /** Queues a frame, whether or not there is room. Nothing happens once the queue has ended. */
  push(frame: Buffer): void {
    if (this.#state === 'ended') return;
    this.#frames.push(frame);
    this.#queuedBytes += frame.length;
    this.#pump();
    this.#watch();
  }

  /** Takes no more frames; sends what is queued, then closes, and cuts the line if that takes too long. */
  end({ code, text }: { code: number; text: string }, withinMs: number = this.#limits.closeWithinMs): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    clearTimeout(this.#stalled);
    for (let next = this.#next(); next !== undefined; next = this.#next()) this.#socket.send(next, () => {});
    this.#socket.close(code, text);
    this.#closing = setTimeout(() => this.#socket.terminate(), withinMs);
    this.#release();
  }

  /** The socket is gone. */
  dispose(): void {
    this.#state = 'ended';
    clearTimeout(this.#stalled);
    clearTimeout(this.#closing);
    this.#frames = [];
    this.#head = 0;
    this.#queuedBytes = 0;
    this.#rest = undefined;
    this.#release();
  }

  #fits(bytes: number): boolean {
    return this.#queuedBytes === 0 || this.#queuedBytes + bytes <= this.#limits.maxQueuedBytes;
  }

  #pump(): void {
    while (this.#inFlightBytes === 0 || this.#inFlightBytes + this.#nextBytes() <= CHUNK_BYTES) {
      const next = this.#next();
      if (next === undefined) return;
      const { length } = next.data;
      this.#inFlightBytes += length;
      this.#socket.send(next, (error) => this.#sent(length, error));
    }
  }

  /** Nothing follows a failed write: the socket is closing by itself. */
  #sent(bytes: number, error: Error | null | undefined): void {
    if (this.#state === 'ended' || (error !== undefined && error !== null)) return;
    this.#inFlightBytes -= bytes;
    clearTimeout(this.#stalled);
    this.#stalled = undefined;
    this.#pump();
    this.#grant();
    this.#watch();
    this.#events.onTaken();
  }

  #nextBytes(): number {
    return (this.#rest ?? this.#frames[this.#head])?.length ?? 0;
  }

  #next(): Fragment | undefined {
    const whole = this.#rest ?? this.#shift();
    if (whole === undefined) return undefined;
    const last = whole.length <= FRAGMENT_BYTES;
    this.#rest = last ? undefined : whole.subarray(FRAGMENT_BYTES);
    return { data: last ? whole : whole.subarray(0, FRAGMENT_BYTES), last };
  }

  #shift(): Buffer | undefined {
    const frame = this.#frames[this.#head];
    if (frame === undefined) return undefined;
    this.#head += 1;
    this.#queuedBytes -= frame.length;
    if (this.#head * 2 > this.#frames.length) {
      this.#frames = this.#frames.slice(this.#head);
      this.#head = 0;
    }
    return frame;
  }

  /** One at a time: each queues its frame before the next is measured. */
  #grant(): void {
    const [first] = this.#waiters;
    if (this.#granting || first === undefined || !this.#fits(first.bytes)) return;
    this.#waiters.shift();
    this.#granting = true;
    first.resolve();
    queueMicrotask(() => {
      this.#granting = false;
      this.#grant();
    });
  }

  #watch(): void {
    const stuck = this.#state === 'open' && (this.full || this.#waiters.length > 0);
    if (!stuck) {
      clearTimeout(this.#stalled);
      this.#stalled = undefined;
    } else if (this.#stalled === undefined) {
      this.#stalled = setTimeout(() => this.#judge(), this.#limits.stallAfterMs);
    }
  }

  /** Where this process was busy for long, what was taken meanwhile is yet to be heard of. */
  #judge(): void {
    const timer = this.#stalled;
    setImmediate(() => {
      if (this.#state === 'open' && this.#stalled === timer) this.#events.onStalled();
    });
  }

  #release(): void {
    for (const { resolve } of this.#waiters.splice(0)) resolve();
  }
}
