import type { Callers } from '../../auth/callers.ts';
import { type Principal, requireAccess } from '../../auth/principal.ts';
import { ASK_EVERY_MS, watchStanding } from '../../auth/watch-standing.ts';
import { ServiceError } from '../../protocol/errors.ts';
import { CLOSE_CODES, type CLOSE_REASONS } from '../../protocol/rpc-methods.ts';
import type { Door } from '../door.ts';
import { toCaller } from '../to-caller.ts';
import { BoundRuns } from './bound-runs.ts';
import { answerFrame } from './json-rpc.ts';
import { connectionMethods, type Session } from './methods.ts';
import { notificationFrame } from './notifications.ts';
import { OUTBOUND_LIMITS, Outbound, type OutboundLimits, type Socket } from './outbound.ts';
import { Subscriptions } from './subscriptions.ts';

/** What a connection needs of the service. */
export interface ConnectionDoor
  extends Pick<Door, 'logger' | 'documents' | 'wrongKeys' | 'open' | 'draining' | 'drainMs' | 'closing'> {
  executions: Session['executions'];
  callers: Pick<Callers, 'verify'>;
}

/** What the request that opened the connection said. */
export interface Opening {
  key: string | undefined;
  originAllowed: boolean;
  /** The client's, and the id of the request that opened the connection. */
  address: string;
  requestId: string;
}

export interface ConnectionLimits extends OutboundLimits {
  /** How long a key may be missing, in ms. */
  authenticateWithinMs: number;
  /** How often it is asked whether the key still opens, in ms. */
  askEveryMs: number;
}

const LIMITS: ConnectionLimits = { ...OUTBOUND_LIMITS, authenticateWithinMs: 5_000, askEveryMs: ASK_EVERY_MS };
/** Frames that are worked on at once. Before there is a key, it is one. */
const MAX_CALLS = 32;
/** Before there is a key, longer frames are not even parsed. */
const MAX_FIRST_FRAME = 64 * 1024;
/** How long the close handshake may take of who has shown no key. */
const STRANGER_CLOSES_WITHIN_MS = 2_000;

type Close = (typeof CLOSE_CODES)[keyof typeof CLOSE_CODES];

/**
 * One client, from its socket's opening to its end.
 *
 * `opening` (the key of the request is being checked) → `unauthenticated` (waits for `authenticate`) → `open` →
 * `closing` (the close handshake is under way) → `closed`.
 */
export class Connection {
  readonly #door: ConnectionDoor;
  readonly #opening: Opening;
  readonly #socket: Socket;
  readonly #outbound: Outbound;
  readonly #subscriptions: Subscriptions;
  readonly #boundRuns: BoundRuns;
  #state: 'opening' | 'unauthenticated' | 'open' | 'closing' | 'closed' = 'opening';
  #principal: Principal | undefined;
  readonly #askEveryMs: number;
  #stopWatching: () => void = () => {};
  /** Why the connection ends after the frame that is being answered. */
  #refusal: Close | undefined;
  /** Bounded: reading stops while any wait, and what arrives all the same was read before. */
  readonly #incoming: string[] = [];
  #calls = 0;
  readonly #slow: NodeJS.Timeout;

  constructor(deps: { door: ConnectionDoor; socket: Socket }, opening: Opening, limits: ConnectionLimits = LIMITS) {
    const { door, socket } = deps;
    this.#door = door;
    this.#opening = opening;
    this.#socket = socket;
    this.#askEveryMs = limits.askEveryMs;
    const onStalled = (): void => this.#close(CLOSE_CODES.tooSlow, 'too_slow');
    this.#outbound = new Outbound(socket, { onStalled, onTaken: () => this.#takeFrames() }, limits);
    const { executions } = door;
    const onDefect = this.#onDefect;
    this.#subscriptions = new Subscriptions({ executions, outbound: this.#outbound, onDefect });
    this.#boundRuns = new BoundRuns({ executions, onDefect });
    this.#slow = setTimeout(() => this.#close(CLOSE_CODES.slowToAuthenticate), limits.authenticateWithinMs);
    door.draining.addEventListener('abort', this.#tellDraining);
    door.closing.addEventListener('abort', this.#goAway);
    if (door.closing.aborted) this.#goAway();
    else if (!opening.originAllowed) this.#close(CLOSE_CODES.origin);
    else void this.#open(opening.key);
  }

  /** Takes a text frame. */
  receive(text: string): void {
    if (this.#ending()) return;
    this.#incoming.push(text);
    this.#takeFrames();
  }

  receiveBinary(): void {
    this.#close(CLOSE_CODES.textOnly);
  }

  /** The socket is closed, whoever closed it. */
  ended(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#letGo();
    this.#outbound.dispose();
  }

  /** Takes the key of the request; without one, waits for `authenticate`. */
  async #open(key: string | undefined): Promise<void> {
    if (key !== undefined || this.#door.open) {
      try {
        await this.#authenticate(key);
      } catch (error) {
        if (!(error instanceof ServiceError)) this.#onDefect(error);
        this.#close(this.#refusal ?? CLOSE_CODES.unauthenticated);
        return;
      }
    }
    if (this.#state === 'opening') this.#state = 'unauthenticated';
    this.#welcome();
    this.#takeFrames();
  }

  /** Takes a key or token; on an open connection a fresh one, which counts from then on. */
  async #authenticate(key: string | undefined): Promise<void> {
    const { wrongKeys } = this.#door;
    const known = this.#principal !== undefined;
    if (!known && !wrongKeys.mayTry(this.#opening.address)) this.#refusal = CLOSE_CODES.wrongKeys;
    wrongKeys.assertMayTry(this.#opening.address);
    const principal = await this.#verify(key);
    if (principal === undefined) {
      await wrongKeys.count(this.#opening.address);
      this.#refusal = CLOSE_CODES.unauthenticated;
      throw new ServiceError('unauthenticated', 'The key opens nothing here');
    }
    if (this.#principal !== undefined && this.#principal.tenant !== principal.tenant) {
      throw new ServiceError('conflict', 'This connection is of another tenant; open one of its own for this key');
    }
    this.#stopWatching();
    this.#principal = principal;
    const onLapsed = (): void => this.#close(CLOSE_CODES.unauthenticated, 'unauthenticated');
    if (!this.#ending()) this.#stopWatching = watchStanding(principal, onLapsed, this.#askEveryMs);
  }

  async #verify(key: string | undefined): Promise<Principal | undefined> {
    try {
      return await this.#door.callers.verify(key);
    } catch (error) {
      if (this.#principal === undefined) this.#refusal = CLOSE_CODES.failed;
      throw error;
    }
  }

  #authenticated(): Principal {
    if (this.#principal !== undefined) return this.#principal;
    this.#refusal = CLOSE_CODES.unauthenticated;
    throw new ServiceError('unauthenticated', 'The first call of a connection without a key is authenticate');
  }

  /** Opens the connection once there is a caller. */
  #welcome(): void {
    if (this.#principal === undefined || this.#state !== 'unauthenticated') return;
    this.#state = 'open';
    clearTimeout(this.#slow);
    this.#tellDraining();
  }

  #takeFrames(): void {
    while (this.#mayCall()) {
      const text = this.#incoming.shift();
      if (text === undefined) break;
      this.#calls += 1;
      void this.#answer(text);
    }
    if (this.#ending()) return;
    if (this.#mayCall()) this.#socket.resume();
    else this.#socket.pause();
  }

  #mayCall(): boolean {
    if (this.#state === 'open') return this.#calls < MAX_CALLS && !this.#outbound.full;
    return this.#state === 'unauthenticated' && this.#calls === 0;
  }

  /** Never rejects. */
  async #answer(text: string): Promise<void> {
    const effects: (() => void)[] = [];
    if (this.#state === 'open' || text.length <= MAX_FIRST_FRAME) {
      const methods = connectionMethods(this.#session((effect) => effects.push(effect)));
      const answer = await answerFrame({ methods, onDefect: this.#onDefect }, text);
      if (answer !== undefined) this.#outbound.push(Buffer.from(answer));
    }
    this.#calls -= 1;
    if (this.#ending()) return;
    this.#welcome();
    if (this.#state === 'unauthenticated') this.#refusal ??= CLOSE_CODES.unauthenticated;
    if (this.#refusal !== undefined) return this.#close(this.#refusal);
    for (const effect of effects) effect();
    this.#takeFrames();
  }

  #session(afterAnswer: Session['afterAnswer']): Session {
    return {
      executions: this.#door.executions,
      openRpc: this.#door.documents.openRpc,
      subscriptions: this.#subscriptions,
      boundRuns: this.#boundRuns,
      caller: () => toCaller(this.#authenticated(), this.#opening),
      authorise: (access) => requireAccess(this.#authenticated(), access),
      authenticate: (key) => this.#authenticate(key),
      afterAnswer,
    };
  }

  readonly #tellDraining = (): void => {
    const { draining, drainMs } = this.#door;
    if (!draining.aborted || this.#state !== 'open') return;
    this.#outbound.push(notificationFrame('server.draining', { drainMs }));
  };

  readonly #goAway = (): void => this.#close(CLOSE_CODES.goingAway, 'going_away');

  readonly #onDefect = (error: unknown): void => {
    this.#door.logger.error({ err: error }, 'a call over the WebSocket failed inside the service');
  };

  /** Tells every subscription why, and closes behind it. */
  #close(close: Close, reason?: (typeof CLOSE_REASONS)[number]): void {
    if (this.#ending()) return;
    this.#state = 'closing';
    this.#subscriptions.endAll(reason);
    this.#letGo();
    if (this.#principal === undefined) this.#outbound.end(close, STRANGER_CLOSES_WITHIN_MS);
    else this.#outbound.end(close);
  }

  #letGo(): void {
    clearTimeout(this.#slow);
    this.#stopWatching();
    this.#door.draining.removeEventListener('abort', this.#tellDraining);
    this.#door.closing.removeEventListener('abort', this.#goAway);
    this.#incoming.length = 0;
    this.#subscriptions.endAll();
    // A service that goes away is no disconnect: its clients come back for what runs on.
    if (this.#door.draining.aborted || this.#door.closing.aborted) this.#boundRuns.release();
    else this.#boundRuns.cancelAll();
  }

  #ending(): boolean {
    return this.#state === 'closing' || this.#state === 'closed';
  }
}
