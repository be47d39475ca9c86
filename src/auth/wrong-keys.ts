import { isIPv6 } from 'node:net';
import { ServiceError } from '../protocol/errors.ts';
import { addressHost } from '../protocol/host-name.ts';

const WINDOW_MS = 60_000;
/** Addresses that are remembered; past it, the one that was wrong longest ago is forgotten. */
const MAX_ADDRESSES = 10_000;

export interface WrongKeysOptions {
  /** Wrong keys in a minute, after which an address is refused for the rest of it. */
  limit: number;
  /** Counts for all nodes on a store, and says how many there are in this minute; undefined where there is one node. */
  share: ((scope: string, windowMs: number) => Promise<number>) | undefined;
  /** Told once for each time that an address is refused from now on. */
  onRefused(scope: string): void;
}

/**
 * Who tries keys is made to wait. A key is not even looked at while its address is refused, so that guesses are as slow
 * as the limit says. No key at all is no guess.
 */
export class WrongKeys {
  readonly #options: WrongKeysOptions;
  readonly #tries = new Map<string, { count: number; until: number }>();

  constructor(options: WrongKeysOptions) {
    this.#options = options;
  }

  /** @throws ServiceError `too_many` */
  assertMayTry(address: string): void {
    const retryAfterMs = this.#refusedForMs(scopeOf(address));
    if (retryAfterMs === 0) return;
    throw new ServiceError(
      'too_many',
      `Too many wrong keys came from this address; no key is taken from it for ${Math.ceil(retryAfterMs / 1000)} s`,
      { data: { retryAfterMs } },
    );
  }

  mayTry(address: string): boolean {
    return this.#refusedForMs(scopeOf(address)) === 0;
  }

  /** Counts a key that opened nothing. */
  async count(address: string): Promise<void> {
    const { limit, onRefused } = this.#options;
    const scope = scopeOf(address);
    const now = performance.now();
    const known = this.#tries.get(scope);
    const tries = known !== undefined && known.until > now ? known : { count: 0, until: now + WINDOW_MS };
    const before = tries.count;
    tries.count += 1;
    this.#remember(scope, tries);
    tries.count = Math.max(tries.count, await this.#shared(scope));
    if (before < limit && tries.count >= limit) onRefused(scope);
  }

  /** A store that is away leaves each node to its own count. */
  async #shared(scope: string): Promise<number> {
    try {
      return (await this.#options.share?.(scope, WINDOW_MS)) ?? 0;
    } catch (error) {
      if (error instanceof ServiceError && error.code === 'storage_unavailable') return 0;
      throw error;
    }
  }

  #refusedForMs(scope: string): number {
    const tries = this.#tries.get(scope);
    if (tries === undefined || tries.count < this.#options.limit) return 0;
    return Math.max(0, Math.ceil(tries.until - performance.now()));
  }

  #remember(scope: string, tries: { count: number; until: number }): void {
    this.#tries.delete(scope);
    this.#tries.set(scope, tries);
    const [oldest] = this.#tries.keys();
    if (this.#tries.size > MAX_ADDRESSES && oldest !== undefined) this.#tries.delete(oldest);
  }
}

/** An IPv6 network of 64 bits is one customer's; IPv4 mapped into IPv6 is IPv4. */
function scopeOf(address: string): string {
  const [bare = ''] = address.split('%', 1);
  if (!isIPv6(bare)) return bare;
  const { address: canonical } = addressHost(bare);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical);
  if (mapped !== null) return [mapped[1], mapped[2]].flatMap(twoBytes).join('.');
  const [head = '', tail] = canonical.split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - groups.length - rest.length }, () => '0');
  return `${[...groups, ...zeros, ...rest].slice(0, 4).join(':')}::/64`;
}

function twoBytes(group = '0'): number[] {
  const value = Number.parseInt(group, 16);
  return [value >> 8, value & 0xff];
}
