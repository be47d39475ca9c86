import { Redis } from 'ioredis';
import { BELL } from './keys.ts';
import type { RedisTarget } from './target.ts';

const MAX_BACK_OFF_MS = 2_000;

/**
 * Tells of logs that have grown, over a connection of its own that there is only while somebody listens. While the
 * server is away nothing is told, and nothing is made up for afterwards.
 */
export class Bell {
  readonly #target: RedisTarget;
  readonly #listeners = new Set<(executionId: string) => void>();
  #redis: Redis | undefined;

  constructor(target: RedisTarget) {
    this.#target = target;
  }

  /** Returns how to stop it. */
  watch(onChange: (executionId: string) => void): () => void {
    const listener = (executionId: string): void => onChange(executionId);
    this.#listeners.add(listener);
    this.#redis ??= this.#listen();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.close();
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#redis?.disconnect();
    this.#redis = undefined;
  }

  /** Subscribes anew on every connection; the commands' connection tells the log of an outage. */
  #listen(): Redis {
    const redis = new Redis({
      ...this.#target.options,
      autoResubscribe: false,
      enableReadyCheck: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => Math.min(25 * 2 ** Math.min(times, 10), MAX_BACK_OFF_MS),
    });
    const ignore = (): void => undefined;
    redis.on('error', ignore);
    redis.on('ready', () => void redis.subscribe(BELL).then(ignore, ignore));
    redis.on('message', (_channel: string, executionId: string) => {
      for (const listener of this.#listeners) listener(executionId);
    });
    return redis;
  }
}
