import type { KeyStorage } from '../storage/key-storage.ts';

/** How often the last use of one key is written at most, in ms. */
const WRITE_EVERY_MS = 60_000;
const MAX_REMEMBERED = 10_000;

/**
 * Notes when keys open something, beside the way of the call: nobody waits for it, and what a store that is away does
 * not take is noted with a later use.
 */
export function createKeyUses(storage: Pick<KeyStorage, 'noteKeyUse'>): (id: string) => void {
  const noted = new Map<string, number>();
  return (id) => {
    const now = Date.now();
    if (now - (noted.get(id) ?? 0) < WRITE_EVERY_MS) return;
    if (noted.size >= MAX_REMEMBERED) noted.clear();
    noted.set(id, now);
    storage.noteKeyUse(id, new Date(now).toISOString()).catch(() => noted.delete(id));
  };
}
