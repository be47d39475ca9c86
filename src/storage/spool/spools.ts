import { ServiceError } from '../../protocol/errors.ts';
import type { StorageLog } from '../redis/connection.ts';
import { errnoOf } from '../sqlite/translate-error.ts';
import type { Append, Storage } from '../storage.ts';
import type { DiskBudget } from './disk-budget.ts';
import { Lane } from './lane.ts';
import type { Outage } from './outage.ts';
import type { RefusedSpools } from './refused-spools.ts';
import { catchUp, replayRest } from './replay.ts';
import { offer } from './replay-entry.ts';
import { Spool } from './spool.ts';
import { encodeEntry } from './spool-entry.ts';
import { SpoolFile } from './spool-file.ts';
import type { SpoolFolder } from './spool-folder.ts';
import { isAway } from './store-away.ts';
import { systemFailure } from './system-failure.ts';

const REPLAYED_AT_ONCE = 4;
const RETRY_AFTER_MS = 2_000;

interface SpoolsOptions {
  storage: Storage;
  folder: SpoolFolder;
  budget: DiskBudget;
  refused: RefusedSpools;
  outage: Outage;
  log: StorageLog;
  /** Told when something new waits for the store. */
  onSpooled: () => void;
}

/** Takes the appends of all executions: to the store, or to an execution's spool until that is empty again. */
export class Spools {
  readonly #options: SpoolsOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #spooled = new Set<Lane>();
  #state: 'open' | 'closed' = 'open';

  constructor(options: SpoolsOptions) {
    this.#options = options;
  }

  /** How many executions are spooled. */
  get count(): number {
    return this.#spooled.size;
  }

  /** @throws ServiceError as the store's `append`, and `storage_unavailable` when the spool has no room either */
  async append(append: Append): Promise<void> {
    const { executionId } = append;
    const lane = this.#lanes.get(executionId) ?? new Lane(executionId);
    this.#lanes.set(executionId, lane);
    try {
      await lane.inOrder(() => this.#append(lane, append));
    } finally {
      this.#forgetIdle(lane);
    }
  }

  /** Takes in the files of an earlier life of the service. Call it before anything is appended. */
  async adopt(): Promise<void> {
    const { folder, budget, outage, refused } = this.#options;
    const executionIds: string[] = [];
    let bytes = 0;
    for (const { executionId, path, size } of await folder.leftovers()) {
      const spool = await Spool.leftover(executionId, { path, size });
      if (spool === undefined) {
        await refused.addUnreadable(new SpoolFile(path, size), executionId);
        continue;
      }
      budget.count(size);
      const lane = new Lane(executionId);
      this.#lanes.set(executionId, lane);
      this.#attach(lane, spool);
      executionIds.push(executionId);
      bytes += size;
    }
    if (this.count > 0) outage.resume({ executionIds, bytes });
  }

  /** Offers everything to the store once; whether it took anything. Never rejects. */
  async replayAll(): Promise<boolean> {
    const before = [...this.#spooled].map((lane) => ({ lane, spool: lane.spool, taken: lane.spool?.taken }));
    const waiting = before.values();
    const work = async (): Promise<void> => {
      for (const { lane } of waiting) await this.#tryReplay(lane);
    };
    await Promise.all(Array.from({ length: REPLAYED_AT_ONCE }, work));
    return before.some(({ lane, spool, taken }) => lane.spool !== spool || spool?.taken !== taken);
  }

  /**
   * Resolves when nothing of the execution is spooled.
   * @throws ServiceError `storage_unavailable`
   */
  async replayNow(executionId: string): Promise<void> {
    const lane = this.#lanes.get(executionId);
    if (lane?.spool !== undefined) await this.#replay(lane);
  }

  /** Takes nothing more to the disk; resolves when what is on its way there, or to the store, has arrived. */
  async close(): Promise<void> {
    this.#state = 'closed';
    await Promise.all([...this.#lanes.values()].map((lane) => lane.settled()));
  }

  async #append(lane: Lane, append: Append): Promise<void> {
    const { spool } = lane;
    // A higher fence is one that the store has given out: it will not take the older writer's spool any more.
    if (spool !== undefined && append.fence > spool.fence) await this.#refuse(lane, spool, takenOver(spool));
    if (lane.spool !== undefined) return this.#write(lane.spool, append);
    this.#options.refused.assertNotRefused(append);
    try {
      await offer(this.#options.storage, append);
    } catch (error) {
      if (!isAway(error) || startsRun(append) || this.#state === 'closed') throw error;
      await this.#begin(lane, append, error);
    }
  }

  async #begin(lane: Lane, append: Append, cause: unknown): Promise<void> {
    const { executionId, fence } = append;
    const path = this.#options.folder.fileOf(executionId);
    if (path === undefined) throw cause;
    const spool = new Spool(new SpoolFile(path), { executionId, fence, state: 'growing' });
    await this.#write(spool, append, cause);
    this.#attach(lane, spool);
    this.#options.onSpooled();
  }

  async #write(spool: Spool, append: Append, cause?: unknown): Promise<void> {
    spool.assertFollows(append);
    if (this.#state === 'closed') throw noRoom('the service is closing');
    const { budget, outage } = this.#options;
    const line = encodeEntry(append);
    if (!budget.take(line.length, append.events.at(-1)?.type === 'execution.finished' ? 'end' : 'events')) {
      outage.rejected();
      throw noRoom('the space for what waits is used up', cause);
    }
    const failure = await systemFailure(spool.write(append, line));
    if (failure !== undefined) {
      budget.giveBack(line.length);
      outage.rejected();
      throw noRoom(`the disk does not take it (${errnoOf(failure)})`, failure);
    }
    outage.spooled(append.executionId, { events: append.events.length, bytes: line.length, cause });
  }

  async #tryReplay(lane: Lane): Promise<void> {
    try {
      await this.#replay(lane);
    } catch (error) {
      if (isAway(error)) return;
      this.#options.log.warn({ err: error, executionId: lane.executionId }, 'a spool could not be replayed');
    }
  }

  #replay(lane: Lane): Promise<void> {
    lane.replaying ??= this.#replayOnce(lane).finally(() => {
      lane.replaying = undefined;
      this.#forgetIdle(lane);
    });
    return lane.replaying;
  }

  /** What arrives while the last entries are replayed waits in the lane, and finds the spool gone. */
  async #replayOnce(lane: Lane): Promise<void> {
    const { spool } = lane;
    if (spool === undefined) return;
    const port = { ...this.#options, isClosed: () => this.#state === 'closed' };
    try {
      await catchUp(spool, port);
      await lane.inOrder(async () => {
        if (lane.spool !== spool) return;
        await replayRest(spool, port);
        this.#detach(lane, spool, await systemFailure(spool.file.remove()));
      });
    } catch (error) {
      if (isAway(error)) throw error;
      await lane.inOrder(() => this.#refuse(lane, spool, error));
    }
  }

  async #refuse(lane: Lane, spool: Spool, why: unknown): Promise<void> {
    if (lane.spool === spool) this.#detach(lane, spool, await this.#options.refused.add(spool, why));
  }

  #attach(lane: Lane, spool: Spool): void {
    lane.spool = spool;
    this.#spooled.add(lane);
  }

  /** A file that cannot be removed or renamed now is met at the next start, and the store knows its entries then. */
  #detach(lane: Lane, spool: Spool, failure: unknown): void {
    const { log, budget, outage } = this.#options;
    if (failure !== undefined)
      log.warn({ err: failure, executionId: spool.executionId }, 'a spool file is left behind');
    lane.spool = undefined;
    this.#spooled.delete(lane);
    budget.giveBack(spool.file.size);
    if (this.count === 0) outage.end();
  }

  #forgetIdle(lane: Lane): void {
    if (lane.idle && this.#lanes.get(lane.executionId) === lane) this.#lanes.delete(lane.executionId);
  }
}

/** Another service may start what the store has as queued, so the start of a run is stored there or does not happen. */
function startsRun({ events, execution }: Append): boolean {
  return events.length === 0 && execution?.state === 'running';
}

function takenOver({ executionId, fence }: Spool): ServiceError {
  return new ServiceError('stale_writer', `Execution ${executionId} has a newer writer than ${fence}.`);
}

function noRoom(why: string, cause?: unknown): ServiceError {
  const message = `The store is away, and events cannot be kept on this disk meanwhile: ${why}.`;
  return new ServiceError('storage_unavailable', message, { cause, data: { retryAfterMs: RETRY_AFTER_MS } });
}
