/** Of the whole, held back for the ends of runs, so that a run that the full spool ends can say so. */
const HELD_BACK = 1 / 16;

/** Counts the bytes of all spool files, before they are written. */
export interface DiskBudget {
  /** Whether there is room; if so, it is taken. */
  take(bytes: number, purpose: 'events' | 'end'): boolean;
  /** Counts what is on the disk already. */
  count(bytes: number): void;
  giveBack(bytes: number): void;
}

export function createDiskBudget(maxBytes: number): DiskBudget {
  let used = 0;
  return {
    take(bytes, purpose): boolean {
      const limit = purpose === 'end' ? maxBytes : maxBytes * (1 - HELD_BACK);
      if (used + bytes > limit) return false;
      used += bytes;
      return true;
    },
    count(bytes): void {
      used += bytes;
    },
    giveBack(bytes): void {
      used -= bytes;
    },
  };
}
