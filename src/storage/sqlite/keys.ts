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
  return {
    addFirst: ({ id, sha256, createdAt }) => addFirst.run(id, sha256, createdAt).changes === 1,
    replaceAll: ({ id, sha256, createdAt }): void => {
      removeAll.run();
      add.run(id, sha256, createdAt);
    },
    get: (id) => {
      const row = get.get(id);
      if (row === undefined) return undefined;
      return { id: text(row, 'id'), sha256: text(row, 'sha256'), createdAt: text(row, 'created_at') };
    },
  };
}
