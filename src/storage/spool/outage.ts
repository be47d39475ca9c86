import type { StorageLog } from '../redis/connection.ts';

/** Counts what is spooled, and tells of each outage twice: when it begins, and when everything is stored. */
export interface Outage {
  /** One append is on the disk. `cause` is why the store did not take it. */
  spooled(executionId: string, append: { events: number; bytes: number; cause: unknown }): void;
  /** Files of an earlier life of the service were found. Their events are counted when they are replayed. */
  resume(left: { executionIds: readonly string[]; bytes: number }): void;
  replayedLeftover(events: number): void;
  /** One append found no room. */
  rejected(): void;
  end(): void;
}

interface Counts {
  since: number;
  executions: Set<string>;
  events: number;
  bytes: number;
  rejected: number;
}

export function createOutage(log: StorageLog): Outage {
  let current: Counts | undefined;
  const begin = (executionIds: readonly string[]): Counts => {
    current = { since: performance.now(), executions: new Set(executionIds), events: 0, bytes: 0, rejected: 0 };
    return current;
  };
  return {
    spooled(executionId, { events, bytes, cause }): void {
      if (current === undefined) log.warn({ err: cause }, 'the store is away; events are spooled to the disk');
      const counts = current ?? begin([]);
      counts.executions.add(executionId);
      counts.events += events;
      counts.bytes += bytes;
    },
    resume({ executionIds, bytes }): void {
      begin(executionIds).bytes = bytes;
      const fields = { executions: executionIds.length, bytes };
      log.warn(fields, 'events that an earlier life of the service spooled wait for the store');
    },
    replayedLeftover(events): void {
      if (current !== undefined) current.events += events;
    },
    rejected(): void {
      if (current !== undefined) current.rejected += 1;
    },
    end(): void {
      if (current === undefined) return;
      const { since, executions, ...counts } = current;
      current = undefined;
      const durationMs = Math.round(performance.now() - since);
      log.info({ executions: executions.size, ...counts, durationMs }, 'the spool is empty');
    },
  };
}
