import type { DatabaseSync } from 'node:sqlite';
import type { SessionRecord, Tenant } from '../storage.ts';
import { integer, type Row, text } from './rows.ts';

export interface SessionTable {
  put(session: SessionRecord): void;
  get(tenant: Tenant, id: string): SessionRecord | undefined;
  /** Removes a session that no execution uses any more, and returns it. */
  removeUnused(tenant: Tenant, id: string): SessionRecord | undefined;
}

export function createSessionTable(db: DatabaseSync): SessionTable {
  const put = db.prepare('INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
  const get = db.prepare('SELECT * FROM sessions WHERE tenant = ? AND id = ?');
  const removeUnused = db.prepare(`DELETE FROM sessions WHERE tenant = :tenant AND id = :id
    AND NOT EXISTS (SELECT 1 FROM executions WHERE tenant = :tenant AND session_id = :id) RETURNING *`);
  return {
    put(session): void {
      const { tenant, id, workspace, directory, fresh, configDirectory, createdAt, lastUsedAt } = session;
      put.run(tenant, id, workspace, directory, configDirectory, createdAt, lastUsedAt, Number(fresh));
    },
    get: (tenant, id) => toSession(get.get(tenant, id)),
    removeUnused: (tenant, id) => toSession(removeUnused.get({ tenant, id })),
  };
}

function toSession(row: Row | undefined): SessionRecord | undefined {
  if (row === undefined) {
    return undefined;
  }
  return {
    id: text(row, 'id'),
    tenant: text(row, 'tenant'),
    workspace: text(row, 'workspace'),
    directory: text(row, 'directory'),
    fresh: integer(row, 'fresh') === 1,
    configDirectory: text(row, 'config_directory'),
    createdAt: text(row, 'created_at'),
    lastUsedAt: text(row, 'last_used_at'),
  };
}
