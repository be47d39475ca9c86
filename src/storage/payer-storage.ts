/** What is counted: `tenant:NAME` or `key:ID`. Amounts are whole millionths of a US dollar. */
export interface SpendCounter {
  name: string;
  /** What may be spent in a day; `undefined` counts without a limit. */
  limitMicroUsd?: number | undefined;
}

/** An amount that is held back before a call, so that calls at the same time do not spend the same money. */
export interface SpendReservation {
  id: string;
  /** The UTC day, such as `2030-01-31`. */
  day: string;
  microUsd: number;
  counters: readonly SpendCounter[];
  /** After so long without a settlement it counts as spent: the call was made, and who made it may be dead. */
  holdMs: number;
}

/** `full`: that counter has reached its limit. `reserved`: what is left of it is held back for calls under way. */
export type SpendAnswer = 'reserved_here' | { refusal: 'full' | 'reserved'; counter: string; spentMicroUsd: number };

export interface SpendTotals {
  spentMicroUsd: number;
  reservedMicroUsd: number;
}

/** What one service instance tells the others about itself. */
export interface InstanceNote {
  instanceId: string;
  /** JSON of its writer. */
  note: string;
}

/** The part of the store about who pays. Atomic and durable like the rest of `Storage`. */
export interface PayerStorage {
  /**
   * Holds an amount back in every counter, or in none. It fits where spent, reserved and new together stay within the
   * limit; where nothing is reserved, anything left of the limit is enough, so that no call is too big to be made alone.
   */
  reserveSpend(reservation: SpendReservation): Promise<SpendAnswer>;
  /** Books what a call has cost in place of its reservation. Once more for the same id, it changes nothing. */
  settleSpend(id: string, microUsd: number): Promise<void>;
  readSpend(day: string, counter: string): Promise<SpendTotals>;

  /**
   * Keeps a value or secret under a name if there is none yet; returns the one that is kept, the same for all who share
   * the store. Of several at once, one wins.
   */
  keepValue(name: string, value: string): Promise<string>;
  /** Keeps this value in place of any other; `undefined` keeps none. */
  replaceValue(name: string, value: string | undefined): Promise<void>;
  getValue(name: string): Promise<string | undefined>;

  /** Keeps what an instance says about itself, in place of what it said before. */
  publishNote(note: InstanceNote): Promise<void>;
  /** What living instances say; that of dead ones is removed. */
  listNotes(): Promise<InstanceNote[]>;
}

/** Days are kept for so long after they are over. */
export const SPEND_KEPT_DAYS = 8;
