import type { DatabaseSync } from 'node:sqlite';
import { ServiceError } from '../../protocol/errors.ts';
import { OPERATOR_TENANT } from '../../protocol/tenant.ts';
import { keyDocument, operatorKey, readKeyDocument } from '../key-document.ts';
import type { BareKey, KeyRecord, UsedKey } from '../key-storage.ts';
import { type Row, text } from './rows.ts';

export interface KeyTable {
  addFirst(key: BareKey): boolean;
  replaceAll(key: BareKey): void;
  add(key: KeyRecord): void;
  change(before: KeyRecord, after: KeyRecord): boolean;
  get(id: string): KeyRecord | undefined;
  list(tenant: string | undefined): UsedKey[];
  remove(ids: readonly string[]): void;
  noteUse(id: string, at: string): void;
}

/** `keys` has those of which no more is kept than every layout knows; all others are in `api_keys`. */
const ALL = `SELECT id, created_at, sha256, '${OPERATOR_TENANT}' AS tenant, NULL AS document FROM keys
  UNION ALL SELECT id, created_at, NULL, tenant, document FROM api_keys`;

export function createKeyTable(db: DatabaseSync): KeyTable {
  const addFirst = db.prepare(`INSERT INTO keys SELECT ?, ?, ?
    WHERE NOT EXISTS (SELECT 1 FROM keys) AND NOT EXISTS (SELECT 1 FROM api_keys)`);
  const addBare = db.prepare('INSERT INTO keys VALUES (?, ?, ?)');
  const add =
    db.prepare(`INSERT INTO api_keys (id, tenant, created_at, document) SELECT :id, :tenant, :createdAt, :document
    WHERE NOT EXISTS (SELECT 1 FROM keys WHERE id = :id) ON CONFLICT DO NOTHING`);
  const change = db.prepare(`UPDATE api_keys SET document = :after WHERE id = :id
    AND document ->> 'sha256' = :sha256 AND document ->> 'revokedAt' IS :revokedAt`);
  const get = db.prepare(`SELECT * FROM (${ALL}) WHERE id = ?`);
  const list = db.prepare(`SELECT * FROM (${ALL}) LEFT JOIN key_uses USING (id)
    WHERE :tenant IS NULL OR tenant = :tenant ORDER BY created_at, id`);
  const removals = ['keys', 'api_keys', 'key_uses'].map((table) => db.prepare(`DELETE FROM ${table} WHERE id = ?`));
  const removeBare = db.prepare('DELETE FROM keys WHERE id = ? AND sha256 = ?');
  const noteUse = db.prepare(`INSERT INTO key_uses VALUES (?, ?)
    ON CONFLICT (id) DO UPDATE SET last_used_at = excluded.last_used_at WHERE excluded.last_used_at > last_used_at`);
  /** Calls that arrive together mostly bear one key: it is read once in each turn of the event loop. */
  const readThisTurn = new Map<string, KeyRecord>();
  const insert = (key: KeyRecord): boolean => {
    const { id, tenant, createdAt } = key;
    return add.run({ id, tenant, createdAt, document: keyDocument(key) }).changes === 1;
  };
  const remove = (ids: readonly string[]): void => {
    readThisTurn.clear();
    for (const id of ids) for (const removal of removals) removal.run(id);
  };
  return {
    addFirst: ({ id, sha256, createdAt }) => addFirst.run(id, sha256, createdAt).changes === 1,
    replaceAll: ({ id, sha256, createdAt }): void => {
      remove(list.all({ tenant: OPERATOR_TENANT }).map((row) => text(row, 'id')));
      addBare.run(id, sha256, createdAt);
    },
    add: (key): void => {
      if (!insert(key)) throw new ServiceError('conflict', `There is a key ${key.id} already.`);
    },
    change: (before, after): boolean => {
      readThisTurn.clear();
      const { id, sha256, revokedAt } = before;
      if (change.run({ id, sha256, revokedAt, after: keyDocument(after) }).changes === 1) return true;
      return removeBare.run(id, sha256).changes === 1 && insert(after);
    },
    get: (id) => {
      const known = readThisTurn.get(id);
      if (known !== undefined) return known;
      const row = get.get(id);
      const key = row === undefined ? undefined : toKey(row);
      if (key === undefined) return undefined;
      if (readThisTurn.size === 0) setImmediate(() => readThisTurn.clear());
      readThisTurn.set(id, key);
      return key;
    },
    list: (tenant) =>
      list.all({ tenant: tenant ?? null }).flatMap((row) => {
        const key = toKey(row);
        const used = row.last_used_at;
        return key === undefined ? [] : [{ ...key, lastUsedAt: typeof used === 'string' ? used : null }];
      }),
    remove,
    noteUse: (id, at) => void noteUse.run(id, at),
  };
}

function toKey(row: Row): KeyRecord | undefined {
  if (typeof row.document === 'string') return readKeyDocument(row.document);
  return operatorKey({ id: text(row, 'id'), sha256: text(row, 'sha256'), createdAt: text(row, 'created_at') });
}
