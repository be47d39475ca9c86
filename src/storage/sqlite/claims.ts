import type { DatabaseSync } from 'node:sqlite';
import { text } from './rows.ts';

export interface ClaimTable {
  /** Takes every key (`undefined`), or none: then the execution that holds the first one that is not free. */
  take(keys: readonly string[], holder: { executionId: string; instanceId: string }): string | undefined;
  release(executionId: string): void;
}

/** A claim binds while its instance lives and its execution has not finished. */
export function createClaimTable(db: DatabaseSync, alive: (instanceId: string) => boolean): ClaimTable {
  const find = db.prepare(`SELECT c.execution_id, c.instance_id FROM claims c
    LEFT JOIN executions e ON e.id = c.execution_id
    WHERE c.key = ? AND c.execution_id <> ? AND coalesce(e.state, '') <> 'finished'`);
  const put = db.prepare('INSERT OR REPLACE INTO claims VALUES (?, ?, ?)');
  const release = db.prepare('DELETE FROM claims WHERE execution_id = ?');
  return {
    take(keys, holder): string | undefined {
      for (const key of keys) {
        const row = find.get(key, holder.executionId);
        if (row !== undefined && alive(text(row, 'instance_id'))) {
          return text(row, 'execution_id');
        }
      }
      for (const key of keys) {
        put.run(key, holder.executionId, holder.instanceId);
      }
      return undefined;
    },
    release(executionId): void {
      release.run(executionId);
    },
  };
}
