import { type SeededRandom, seededRandom } from './seeded-random.ts';

export type RunKind = 'plain' | 'crashes' | 'overloaded' | 'stubborn';

/** One execution that is to be submitted, and what its caller does with it. Times are in ms. */
export interface Submission {
  /** Is in the execution's metadata as `submission`. */
  index: number;
  kind: RunKind;
  talksForMs: number;
  priority: number;
  /** With a key, an answer that is lost is asked for again, at any node. */
  idempotencyKey: string | undefined;
  /** Sent twice at once. */
  twice: boolean;
  retryMax: number;
  /** `session`: continues one of those that were accepted before; `workspace`: which of the named ones. */
  place: { kind: 'fresh' } | { kind: 'workspace'; name: string } | { kind: 'session'; pick: number };
  follow: 'sse' | 'websocket' | undefined;
  /** After it was accepted. */
  caller: { act: 'nothing' } | { act: 'cancel'; afterMs: number } | { act: 'pause'; afterMs: number; forMs: number };
}

const NAMED_WORKSPACES = 12;

export function planSubmissions(count: number, seed: number): Submission[] {
  const random = seededRandom(seed, 'submissions');
  return Array.from({ length: count }, (_, index): Submission => {
    const place = planPlace(random);
    const kind = planKind(random);
    return {
      index,
      kind,
      talksForMs: Math.round(kind === 'stubborn' ? random.between(2_000, 5_000) : random.between(200, 2_000)),
      priority: random.pick([0, 50, 50, 50, 100]),
      idempotencyKey: random.chance(0.85) ? `campaign-${seed}-${index}` : undefined,
      twice: random.chance(0.1),
      retryMax: place.kind === 'fresh' && (kind === 'overloaded' || random.chance(0.05)) ? 1 : 0,
      place,
      follow: random.chance(0.25) ? random.pick(['sse', 'websocket'] as const) : undefined,
      caller: planAct(random),
    };
  });
}

function planPlace(random: SeededRandom): Submission['place'] {
  const which = random.next();
  if (which < 0.2) return { kind: 'workspace', name: `shared-${Math.floor(random.next() * NAMED_WORKSPACES)}` };
  if (which < 0.35) return { kind: 'session', pick: random.next() };
  return { kind: 'fresh' };
}

function planKind(random: SeededRandom): RunKind {
  const which = random.next();
  if (which < 0.04) return 'crashes';
  if (which < 0.08) return 'overloaded';
  return which < 0.1 ? 'stubborn' : 'plain';
}

function planAct(random: SeededRandom): Submission['caller'] {
  const which = random.next();
  if (which < 0.1) return { act: 'cancel', afterMs: random.between(0, 4_000) };
  if (which < 0.18) return { act: 'pause', afterMs: random.between(0, 2_000), forMs: random.between(100, 3_000) };
  return { act: 'nothing' };
}
