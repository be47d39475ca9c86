/** Numbers that are the same for the same seed, so that what a campaign found can be looked for again. */
export interface SeededRandom {
  /** From 0 up to, and not with, 1. */
  next(): number;
  /** From `min` up to, and not with, `max`. */
  between(min: number, max: number): number;
  /** True in a share of all cases. */
  chance(share: number): boolean;
  pick<T>(values: readonly T[]): T;
}

/** @param stream a name: each has numbers of its own, so that asking one more often does not change another */
export function seededRandom(seed: number, stream: string): SeededRandom {
  let state = [...`${seed} ${stream}`].reduce(
    (hash, character) => Math.imul(hash ^ character.charCodeAt(0), 16_777_619),
    2_166_136_261,
  );
  // mulberry32
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (min, max) => min + next() * (max - min),
    chance: (share) => next() < share,
    pick: (values) => {
      const value = values[Math.floor(next() * values.length)];
      if (value === undefined) throw new Error('there is nothing to pick from');
      return value;
    },
  };
}
