import type { DatabaseSync } from 'node:sqlite';
import type { KeyRecord } from '../storage.ts';
import { text } from './rows.ts';

export interface KeyTable {
  addFirst(key: KeyRecord): boolean;
  replaceAll(key: KeyRecord): void;
  get(id: string): KeyRecord | undefined;
}

export function createKeyTable(db: DatabaseSync): KeyTable {
  const addFirst = db.prepare('INSERT INTO keys SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM keys)');
  const add = db.prepare('INSERT INTO keys VALUES (?, ?, ?)');
  const removeAll = db.prepare('DELETE FROM keys');
  const get = db.prepare('SELECT * FROM keys WHERE id = ?');
  /** Calls that arrive together mostly bear one key: it is read once in each turn of the event loop. */
  const readThisTurn = new Map<string, KeyRecord>();
  return {
    addFirst: ({ id, sha256, createdAt }) => addFirst.run(id, sha256, createdAt).changes === 1,
    replaceAll: ({ id, sha256, createdAt }): void => {
      readThisTurn.clear();
      removeAll.run();
      add.run(id, sha256, createdAt);
    },
    get: (id) => {
      const known = readThisTurn.get(id);
      if (known !== undefined) return known;
      const row = get.get(id);
      if (row === undefined) return undefined;
      const key = { id: text(row, 'id'), sha256: text(row, 'sha256'), createdAt: text(row, 'created_at') };
      if (readThisTurn.size === 0) setImmediate(() => readThisTurn.clear());
      readThisTurn.set(id, key);
      return key;
    },
  };
}
