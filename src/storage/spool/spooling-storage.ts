import type { StorageLog } from '../redis/connection.ts';
import type { Storage } from '../storage.ts';
import { createDiskBudget } from './disk-budget.ts';
import { Flusher } from './flusher.ts';
import { createLateReleases } from './late-releases.ts';
import { createOutage } from './outage.ts';
import { passedThrough } from './passed-through.ts';
import { RefusedSpools } from './refused-spools.ts';
import { openSpoolFolder } from './spool-folder.ts';
import { Spools } from './spools.ts';

const FLUSH_AT_START_MS = 10_000;
const FLUSH_AT_CLOSE_MS = 2_000;

export interface SpoolingStorageOptions {
  /** The absolute path of a folder on a local disk, for this process alone; made when it is not there. */
  folder: string;
  /** Of all spool files together; 1/16 of it is for the ends of runs. Refused files may hold as much again. */
  maxBytes: number;
  logger: StorageLog;
}

/**
 * Keeps runs going while the shared store is away. An append that the store has no room or no answer for
 * (`storage_unavailable`, and nothing else) is written to a file of its execution and resolves when it is on the disk;
 * from then on everything of that execution goes there, in order, until the store has taken all of it. Meanwhile
 * readers of this process see these events at once, as their writer hands them over; who reads the store, here or
 * elsewhere, sees them when it is back, and is told until then that the log is shorter.
 *
 * - What says that a run starts (`updateExecution` to `running`) is never spooled: another service may start what the
 *   store has as queued.
 * - When the store is back and has given the execution to another writer, the file is kept as `<id>.refused` for 7 days,
 *   and its writer is refused from then on (`stale_writer`).
 * - `releaseClaims` resolves at once and is done later, for up to 100,000 executions.
 * - `takeOver` first has the store take what is spooled here of the execution. All other methods are the store's own.
 * - What an earlier life of the service left is stored before this resolves, if the store takes it within 10 s.
 * - `close` stores what it can in 2 s; the rest stays for the next start.
 *
 * It owns `storage`, and closes it. `spooling()` is the number of executions whose events wait on the disk.
 * @throws ServiceError `data_folder_unusable`, also when another living process has the folder; `append` throws
 * `storage_unavailable` when the spool has no room
 */
export async function spoolingStorage(
  storage: Storage,
  { folder: path, maxBytes, logger: log }: SpoolingStorageOptions,
): Promise<Storage & { spooling(): number }> {
  const folder = await openSpoolFolder(path);
  const refused = new RefusedSpools({ folder, maxBytes, log });
  const outage = createOutage(log);
  const wake = (): void => flusher.wake();
  const budget = createDiskBudget(maxBytes);
  const spools = new Spools({ storage, folder, budget, refused, outage, log, onSpooled: wake });
  const releases = createLateReleases({ storage, log }, wake);
  const flusher = new Flusher({
    waiting: () => spools.count + releases.waiting() > 0,
    round: async () => {
      const [probe] = await Promise.allSettled([storage.probe()]);
      if (probe.status === 'rejected') return false;
      const [taken, released] = [await spools.replayAll(), await releases.retry()];
      return taken || released;
    },
  });
  try {
    await folder.pruneRefused(maxBytes);
    await spools.adopt();
  } catch (error) {
    folder.release();
    throw error;
  }
  await flusher.flushWithin(FLUSH_AT_START_MS);
  return {
    ...passedThrough(storage),
    append: (append) => spools.append(append),
    updateExecution: (executionId, fence, execution) => spools.append({ executionId, fence, events: [], execution }),
    releaseClaims: (executionId) => releases.release(executionId),
    async takeOver(executionId, fence, instanceId) {
      await spools.replayNow(executionId);
      return storage.takeOver(executionId, fence, instanceId);
    },
    spooling: () => spools.count,
    async close(): Promise<void> {
      await flusher.flushWithin(FLUSH_AT_CLOSE_MS);
      const ended = Promise.all([spools.close(), flusher.stop()]);
      try {
        await storage.close();
      } finally {
        await ended;
        folder.release();
      }
    },
  };
}
