import type { DatabaseSync } from 'node:sqlite';
import { MAX_DENIED_TOKENS } from '../key-storage.ts';
import { tooManyDenied } from '../too-many-denied.ts';
import { integer, text } from './rows.ts';

export interface SecretTable {
  deny(tenant: string, tokenId: string, until: number): void;
  isDenied(tenant: string, tokenId: string): boolean;
  keep(name: string, secret: string): string;
}

/** Secrets of the service, and tokens that open nothing any more. */
export function createSecretTable(db: DatabaseSync): SecretTable {
  const prune = db.prepare('DELETE FROM denied_tokens WHERE until < ?');
  const count = db.prepare('SELECT count(*) AS number FROM denied_tokens WHERE tenant = ?');
  const deny = db.prepare(`INSERT INTO denied_tokens VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET until = max(until, excluded.until)`);
  const denied = db.prepare('SELECT 1 FROM denied_tokens WHERE tenant = ? AND token_id = ? AND until >= ?');
  const keep = db.prepare('INSERT OR IGNORE INTO secrets VALUES (?, ?)');
  const kept = db.prepare('SELECT secret FROM secrets WHERE name = ?');
  return {
    deny(tenant, tokenId, until): void {
      prune.run(Date.now());
      if (integer(count.get(tenant), 'number') >= MAX_DENIED_TOKENS) throw tooManyDenied();
      deny.run(tenant, tokenId, until);
    },
    isDenied: (tenant, tokenId) => denied.get(tenant, tokenId, Date.now()) !== undefined,
    keep(name, secret): string {
      keep.run(name, secret);
      return text(kept.get(name) ?? {}, 'secret');
    },
  };
}
