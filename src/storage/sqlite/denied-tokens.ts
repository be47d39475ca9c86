import type { DatabaseSync } from 'node:sqlite';
import { MAX_DENIED_TOKENS } from '../key-storage.ts';
import { tooManyDenied } from '../too-many-denied.ts';
import { integer } from './rows.ts';

export interface DeniedTokenTable {
  deny(tenant: string, tokenId: string, until: number): void;
  has(tenant: string, tokenId: string): boolean;
}

/** Tokens that open nothing any more. */
export function createDeniedTokenTable(db: DatabaseSync): DeniedTokenTable {
  const prune = db.prepare('DELETE FROM denied_tokens WHERE until < ?');
  const count = db.prepare('SELECT count(*) AS number FROM denied_tokens WHERE tenant = ?');
  const deny = db.prepare(`INSERT INTO denied_tokens VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET until = max(until, excluded.until)`);
  const denied = db.prepare('SELECT 1 FROM denied_tokens WHERE tenant = ? AND token_id = ? AND until >= ?');
  return {
    deny(tenant, tokenId, until): void {
      prune.run(Date.now());
      if (integer(count.get(tenant), 'number') >= MAX_DENIED_TOKENS) throw tooManyDenied();
      deny.run(tenant, tokenId, until);
    },
    has: (tenant, tokenId) => denied.get(tenant, tokenId, Date.now()) !== undefined,
  };
}
