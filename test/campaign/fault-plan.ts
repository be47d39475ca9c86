import { type SeededRandom, seededRandom } from './seeded-random.ts';

export const FAULT_KINDS = [
  'kill-api',
  'kill-worker',
  'freeze-worker',
  'kill-redis',
  'freeze-redis',
  'cut',
  'half-open',
  'deaf',
  'slow',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** One fault. */
export interface PlannedFault {
  kind: FaultKind;
  /**
   * It comes when so many executions are accepted. Not after so many seconds: where the faults are too many for a slow
   * machine they wait, and do not keep it down for ever.
   */
  after: number;
  /** In ms, until what was killed is started again, what was frozen woken, or the network good. */
  lastsMs: number;
  /** Which one of those that it can hit, 0 up to 1. */
  target: number;
  /** Of the network: 1 for the whole node, below 1 for one of its connections. */
  share: number;
}

const WEIGHTS: Readonly<Record<FaultKind, number>> = {
  'kill-api': 12,
  'kill-worker': 20,
  'freeze-worker': 12,
  'kill-redis': 8,
  'freeze-redis': 8,
  cut: 14,
  'half-open': 10,
  deaf: 8,
  slow: 8,
};

/** At least one of each kind where there are enough, at random points of a campaign of so many runs. */
export function planFaults(count: number, { seed, runs }: { seed: number; runs: number }): PlannedFault[] {
  const random = seededRandom(seed, 'faults');
  const bag = FAULT_KINDS.flatMap((kind) => Array.from({ length: WEIGHTS[kind] }, () => kind));
  return Array.from({ length: count }, (_, index): PlannedFault => {
    const kind = FAULT_KINDS[index] ?? random.pick(bag);
    const [after, lastsMs, target] = [random.next() * runs, lasts(kind, random), random.next()];
    return { kind, after, lastsMs, target, share: random.chance(0.5) ? 1 : random.next() };
  }).sort((left, right) => left.after - right.after);
}

function lasts(kind: FaultKind, random: SeededRandom): number {
  switch (kind) {
    case 'kill-api':
    case 'kill-worker':
    case 'kill-redis':
      return random.between(200, 2_000);
    // Shorter and longer than the 12 s of a heartbeat and the 15 s of a lock.
    case 'freeze-worker':
      return random.chance(0.5) ? random.between(200, 6_000) : random.between(12_000, 20_000);
    case 'freeze-redis':
      return random.between(200, 5_000);
    default:
      return random.chance(0.8) ? random.between(200, 6_000) : random.between(12_000, 18_000);
  }
}
