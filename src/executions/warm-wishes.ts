import type { WarmProfile } from './warm-profile.ts';

/** A profile that no run has asked for in this time is no longer kept ready. */
const FORGOTTEN_AFTER_MS = 10 * 60_000;

/** The profiles that runs asked for lately, which tell what the next ones will ask for. */
export class WarmWishes {
  readonly #size: number;
  readonly #fallback: WarmProfile | undefined;
  /** Oldest first. */
  readonly #wished = new Map<string, { profile: WarmProfile; at: number }>();

  /** @param fallback what is kept ready while nothing was asked for; nothing when undefined */
  constructor(size: number, fallback: WarmProfile | undefined) {
    this.#size = size;
    this.#fallback = fallback;
  }

  add(profile: WarmProfile): void {
    this.#wished.delete(profile.key);
    this.#wished.set(profile.key, { profile, at: performance.now() });
    const [oldest] = this.#wished.keys();
    if (this.#wished.size > this.#size && oldest !== undefined) this.#wished.delete(oldest);
  }

  remove(profile: WarmProfile): void {
    this.#wished.delete(profile.key);
  }

  /** How many processes are to wait for each profile, most recently wished first; `size` in all. */
  shares(isPossible: (profile: WarmProfile) => boolean): { profile: WarmProfile; count: number }[] {
    const since = performance.now() - FORGOTTEN_AFTER_MS;
    for (const [key, { at }] of this.#wished) if (at < since) this.#wished.delete(key);
    const wished = [...this.#wished.values()].map(({ profile }) => profile).reverse();
    const possible = wished.filter(isPossible);
    const fallback = this.#fallback === undefined ? [] : [this.#fallback];
    const profiles = possible.length === 0 ? fallback : possible;
    const each = Math.floor(this.#size / profiles.length);
    const rest = this.#size % profiles.length;
    return profiles.map((profile, at) => ({ profile, count: each + (at < rest ? 1 : 0) }));
  }
}
