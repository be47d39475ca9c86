import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { ServiceError } from '../../protocol/errors.ts';
import { FormerConnection } from './former-connection.ts';
import type { Script } from './script.ts';
import type { RedisTarget } from './target.ts';
import { refusalOf, translateError, unavailable } from './translate-error.ts';

const TIME_LIMIT_MS = 2_000;
/** What is long takes longer to send: 1 s more for each 4 MiB. */
const BYTES_PER_MS = 4_194;
/** Also while a connection is being made; far above what a command may take. */
const SILENCE_LIMIT_MS = 15_000;
const OPEN_WITHIN_MS = 30_000;
const MAX_BACK_OFF_MS = 2_000;
const LOADING_POLL_MS = 50;
const MAX_WAITING = 10_000;
const MAX_WAITING_BYTES = 256 * 1024 * 1024;

/** Says less than the error that comes before it, where one does. */
const CLOSED = new Error('the connection was closed');

export interface StorageLog {
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
}

export interface CommandOptions {
  /** The longest reply that is expected, where it is long. */
  replyBytes?: number;
  /** Told when nobody knows whether the server has done it: the connection was lost before the answer came. */
  inDoubt?: () => void;
}

/** How the parts of the store speak to the server. All of it throws `ServiceError` `storage_unavailable`. */
export interface RedisCommands {
  call(command: string, args: readonly (string | number)[], options?: CommandOptions): Promise<unknown>;
  /** `keys` and `args` are KEYS and ARGV of the script. */
  evaluate(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
    options?: CommandOptions,
  ): Promise<unknown>;
}

interface ConnectionOptions {
  log: StorageLog | undefined;
  /** Runs on every new connection, before other commands are let through; if it fails, the connection is given up. */
  prepare: (commands: RedisCommands) => Promise<void>;
}

/** `since` is a `performance.now()`. */
type ConnectionState = { kind: 'away'; reason: unknown } | { kind: 'available'; since: number } | { kind: 'closed' };

/**
 * One connection for all commands. While the server is away, commands fail at once and none is kept for later; the
 * connection comes back by itself. No command is ever sent twice.
 */
export class RedisConnection implements RedisCommands {
  readonly #redis: Redis;
  readonly #target: RedisTarget;
  readonly #options: ConnectionOptions;
  readonly #former = new FormerConnection();
  readonly #opened = Promise.withResolvers<void>();
  #state: ConnectionState = { kind: 'away', reason: new Error('it was not reached yet') };
  /** Grows with every connection that is made or lost. */
  #epoch = 0;
  #attempts = 0;
  #waiting = 0;
  #waitingBytes = 0;

  private constructor(target: RedisTarget, options: ConnectionOptions) {
    this.#target = target;
    this.#options = options;
    this.#redis = new Redis({
      ...target.options,
      lazyConnect: true,
      connectionName: this.#former.name,
      connectTimeout: TIME_LIMIT_MS,
      socketTimeout: SILENCE_LIMIT_MS,
      disconnectTimeout: 50,
      enableReadyCheck: false,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: () => this.#backOff(),
    });
    this.#redis.on('ready', () => void this.#admit());
    this.#redis.on('error', (error) => this.#lose(error));
    this.#redis.on('close', () => this.#lose(CLOSED));
  }

  /**
   * Connects, and waits while the server loads its data.
   * @throws ServiceError `storage_unavailable` after the first failure; whatever `prepare` throws
   */
  static async open(target: RedisTarget, options: ConnectionOptions): Promise<RedisConnection> {
    const connection = new RedisConnection(target, options);
    const tooLate = setTimeout(() => connection.#failOpening(), OPEN_WITHIN_MS);
    try {
      await Promise.all([connection.#opened.promise, connection.#redis.connect()]);
      return connection;
    } catch (error) {
      connection.#state = { kind: 'closed' };
      connection.#redis.disconnect();
      throw await connection.#opened.promise.then(
        () => error,
        (first: unknown) => translateError(first, target.shown),
      );
    } finally {
      clearTimeout(tooLate);
    }
  }

  /** For how long, in ms, every command has been let through; 0 while the server is away. */
  get availableForMs(): number {
    return this.#state.kind === 'available' ? performance.now() - this.#state.since : 0;
  }

  call(command: string, args: readonly (string | number)[], options: CommandOptions = {}): Promise<unknown> {
    return this.#translated(async () => {
      this.#refuseAway();
      return this.#send(command, args, options);
    });
  }

  evaluate(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
    options: CommandOptions = {},
  ): Promise<unknown> {
    return this.#translated(async () => {
      this.#refuseAway();
      return this.#evaluate(script, [keys.length, ...keys, ...args], options);
    });
  }

  /** Waits for the answers that are due, and lets nothing more through. */
  async close(): Promise<void> {
    const wasAvailable = this.#state.kind === 'available';
    this.#state = { kind: 'closed' };
    // However the farewell ends, the connection is over.
    if (wasAvailable) await Promise.allSettled([this.#send('QUIT', [], {})]);
    this.#redis.disconnect();
  }

  async #translated<T>(send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      throw translateError(error, this.#target.shown);
    }
  }

  #refuseAway(): void {
    const { shown } = this.#target;
    if (this.#state.kind === 'closed')
      throw new ServiceError('storage_unavailable', `The store at ${shown} is closed.`);
    if (this.#state.kind === 'away') throw translateError(this.#state.reason, shown);
  }

  async #evaluate(script: Script, rest: readonly (string | number)[], options: CommandOptions): Promise<unknown> {
    try {
      return await this.#send('EVALSHA', [script.sha, ...rest], options);
    } catch (error) {
      if (refusalOf(error) !== 'NOSCRIPT') throw error;
      return this.#send('EVAL', [script.text, ...rest], options);
    }
  }

  async #send(command: string, args: readonly (string | number)[], options: CommandOptions): Promise<unknown> {
    const bytes = args.reduce<number>((sum, arg) => sum + (typeof arg === 'string' ? arg.length : 8), 0);
    if (this.#waiting >= MAX_WAITING || (this.#waiting > 0 && this.#waitingBytes + bytes > MAX_WAITING_BYTES)) {
      throw unavailable(this.#target.shown, `${this.#waiting} commands wait for it already`);
    }
    this.#waiting += 1;
    this.#waitingBytes += bytes;
    try {
      const limitMs = TIME_LIMIT_MS + (bytes + (options.replyBytes ?? 0)) / BYTES_PER_MS;
      return await this.#within(limitMs, this.#redis.call(command, [...args]));
    } catch (error) {
      if (refusalOf(error) === undefined) options.inDoubt?.();
      throw error;
    } finally {
      this.#waiting -= 1;
      this.#waitingBytes -= bytes;
    }
  }

  /** A server that does not answer in time is given up, and with it everything that waits for it. */
  async #within(limitMs: number, reply: Promise<unknown>): Promise<unknown> {
    const late = Promise.withResolvers<never>();
    const epoch = this.#epoch;
    const giveUp = (): void => {
      const error = new Error(`no answer within ${Math.round(limitMs)} ms`);
      late.reject(error);
      if (epoch !== this.#epoch) return;
      this.#lose(error);
      this.#redis.disconnect(true);
    };
    // An answer that came while this process was busy is read in the turn between the two.
    let cancel: () => void = () => clearTimeout(timer);
    const timer = setTimeout(() => {
      const immediate = setImmediate(giveUp);
      cancel = () => clearImmediate(immediate);
    }, limitMs);
    try {
      return await Promise.race([reply, late.promise]);
    } finally {
      cancel();
    }
  }

  async #admit(): Promise<void> {
    this.#epoch += 1;
    const epoch = this.#epoch;
    const commands: RedisCommands = {
      call: (command, args, options = {}) => this.#send(command, args, options),
      evaluate: (script, keys, args, options = {}) => this.#evaluate(script, [keys.length, ...keys, ...args], options),
    };
    try {
      await this.#untilServing(commands, epoch);
      await this.#former.end(commands);
      await this.#options.prepare(commands);
    } catch (error) {
      if (epoch !== this.#epoch) return;
      this.#lose(error);
      this.#redis.disconnect(true);
      return;
    }
    if (epoch !== this.#epoch || this.#state.kind === 'closed') return;
    if (this.#attempts > 0) {
      this.#options.log?.info({ redis: this.#target.shown }, 'Redis is back');
    }
    this.#attempts = 0;
    this.#state = { kind: 'available', since: performance.now() };
    this.#opened.resolve();
  }

  /** Waits out what passes by itself, and makes sure of the database: the client goes on in number 0 if it is refused. */
  async #untilServing({ call }: RedisCommands, epoch: number): Promise<void> {
    for (;;) {
      try {
        await call('PING', []);
        await call('SELECT', [this.#target.database]);
        return;
      } catch (error) {
        if (!['LOADING', 'BUSY'].includes(refusalOf(error) ?? '') || epoch !== this.#epoch) throw error;
        if (this.#state.kind === 'away') this.#state = { kind: 'away', reason: error };
      }
      await delay(LOADING_POLL_MS);
    }
  }

  #lose(reason: unknown): void {
    this.#epoch += 1;
    if (this.#state.kind === 'closed') return;
    const outage = this.#state.kind === 'available';
    if (outage || reason !== CLOSED) this.#state = { kind: 'away', reason };
    this.#opened.reject(this.#state.kind === 'away' ? this.#state.reason : reason);
    if (outage) {
      this.#options.log?.warn({ err: translateError(reason, this.#target.shown) }, 'Redis is away');
    }
  }

  #failOpening(): void {
    this.#lose(this.#state.kind === 'away' ? this.#state.reason : new Error('it did not answer in time'));
  }

  #backOff(): number {
    this.#attempts += 1;
    return Math.min(25 * 2 ** Math.min(this.#attempts, 10), MAX_BACK_OFF_MS);
  }
}
