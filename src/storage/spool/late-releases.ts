import type { StorageLog } from '../redis/connection.ts';
import type { Storage } from '../storage.ts';
import { isAway } from './store-away.ts';

const MAX_REMEMBERED = 100_000;

/** Claims to give back when the store is there again. */
export interface LateReleases {
  waiting(): number;
  /** Gives an execution's claims back, or remembers to. Past 100,000 remembered ones it rejects as the store does. */
  release(executionId: string): Promise<void>;
  /** Gives back what it can; whether it gave any. Never rejects. */
  retry(): Promise<boolean>;
}

export function createLateReleases(
  { storage, log }: { storage: Pick<Storage, 'releaseClaims'>; log: StorageLog },
  onRemembered: () => void,
): LateReleases {
  const remembered = new Set<string>();
  return {
    waiting: () => remembered.size,
    async release(executionId): Promise<void> {
      try {
        await storage.releaseClaims(executionId);
      } catch (error) {
        if (!isAway(error) || remembered.size >= MAX_REMEMBERED) throw error;
        remembered.add(executionId);
        onRemembered();
      }
    },
    async retry(): Promise<boolean> {
      const before = remembered.size;
      for (const executionId of remembered) {
        try {
          await storage.releaseClaims(executionId);
        } catch (error) {
          if (isAway(error)) break;
          log.warn({ err: error, executionId }, 'the claims of an execution could not be given back');
        }
        remembered.delete(executionId);
      }
      return remembered.size < before;
    },
  };
}
