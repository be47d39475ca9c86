import type { DatabaseSync } from 'node:sqlite';
import { dayOf, overQuota, ownerOf, type Quota, START_WINDOW_MS } from '../quota.ts';
import { integer } from './rows.ts';

export interface QuotaTable {
  /**
   * Counts a start against limits, all or none; `at` is its time in ms. What has not finished is counted where it stands.
   * @throws ServiceError `too_many`, `quota_exceeded`
   */
  start(quotas: readonly Quota[], start: { id: string; at: number; bytes: number }): void;
  /** @throws ServiceError `quota_exceeded` */
  takeBytes(quotas: readonly Quota[], taken: { bytes: number; at: number }): void;
  /** Forgets what no limit looks at any more. */
  prune(at: number): void;
}

export function createQuotaTable(db: DatabaseSync): QuotaTable {
  const unfinishedOfKey = db.prepare(`SELECT count(*) AS count FROM (SELECT 1 FROM executions
    WHERE tenant = ? AND key_id = ? AND state <> 'finished' LIMIT ?)`);
  const unfinishedOfTenant = db.prepare(`SELECT count(*) AS count FROM (SELECT 1 FROM executions
    WHERE tenant = ? AND state <> 'finished' LIMIT ?)`);
  /** The start that would have to be older for another one to fit. */
  const nthLast = db.prepare('SELECT at FROM starts WHERE owner = ? AND at > ? ORDER BY at DESC LIMIT 1 OFFSET ?');
  const addStart = db.prepare('INSERT INTO starts VALUES (?, ?, ?)');
  const bytesOf = db.prepare('SELECT bytes FROM taken_bytes WHERE owner = ? AND day = ?');
  const addBytes = db.prepare(`INSERT INTO taken_bytes VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes`);
  const pruneStarts = db.prepare('DELETE FROM starts WHERE at <= ?');
  const pruneBytes = db.prepare('DELETE FROM taken_bytes WHERE day < ?');

  const checkRuns = (quota: Quota, at: number): void => {
    const { tenant, keyId, limits } = quota;
    const limit = limits.concurrentRuns;
    if (limit === undefined) return;
    const row = keyId === undefined ? unfinishedOfTenant.get(tenant, limit) : unfinishedOfKey.get(tenant, keyId, limit);
    if (integer(row, 'count') >= limit) throw overQuota(quota, { limit: 'concurrentRuns', at });
  };
  const checkStarts = (quota: Quota, at: number): void => {
    const limit = quota.limits.startsPerMinute;
    if (limit === undefined) return;
    const row = nthLast.get(ownerOf(quota), at - START_WINDOW_MS, limit - 1);
    if (row !== undefined) throw overQuota(quota, { limit: 'startsPerMinute', at, oldest: integer(row, 'at') });
  };
  const checkBytes = (quota: Quota, { bytes, at }: { bytes: number; at: number }): void => {
    const limit = quota.limits.bytesPerDay;
    if (limit === undefined) return;
    const taken = integer(bytesOf.get(ownerOf(quota), dayOf(at)), 'bytes');
    if (taken + bytes > limit) throw overQuota(quota, { limit: 'bytesPerDay', at });
  };
  const countBytes = (quotas: readonly Quota[], { bytes, at }: { bytes: number; at: number }): void => {
    for (const quota of quotas) {
      if (quota.limits.bytesPerDay !== undefined) addBytes.run(ownerOf(quota), dayOf(at), bytes);
    }
  };

  return {
    start(quotas, { id, at, bytes }): void {
      for (const quota of quotas) {
        checkRuns(quota, at);
        checkStarts(quota, at);
        checkBytes(quota, { bytes, at });
      }
      for (const quota of quotas) {
        if (quota.limits.startsPerMinute !== undefined) addStart.run(ownerOf(quota), at, id);
      }
      countBytes(quotas, { bytes, at });
    },
    takeBytes(quotas, taken): void {
      for (const quota of quotas) checkBytes(quota, taken);
      countBytes(quotas, taken);
    },
    prune(at): void {
      pruneStarts.run(at - START_WINDOW_MS);
      pruneBytes.run(dayOf(at));
    },
  };
}
