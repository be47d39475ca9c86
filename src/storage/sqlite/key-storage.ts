import type { DatabaseSync } from 'node:sqlite';
import type { KeyStorage } from '../key-storage.ts';
import { createDeniedTokenTable } from './denied-tokens.ts';
import { createKeyTable } from './keys.ts';
import type { StoreAccess } from './store-access.ts';

export function createKeyStorage(db: DatabaseSync, { write, read }: StoreAccess): KeyStorage {
  const keys = createKeyTable(db);
  const denied = createDeniedTokenTable(db);
  return {
    addFirstKey: (key) => write(() => keys.addFirst(key)),
    replaceKeys: (key) => write(() => keys.replaceAll(key)),
    addKey: (key) => write(() => keys.add(key)),
    changeKey: (before, after) => write(() => keys.change(before, after)),
    getKey: (id) => read(() => keys.get(id)),
    listKeys: (tenant) => read(() => keys.list(tenant)),
    removeKeys: (ids) => write(() => keys.remove(ids)),
    noteKeyUse: (id, at) => write(() => keys.noteUse(id, at)),
    denyToken: (tenant, tokenId, until) => write(() => denied.deny(tenant, tokenId, until)),
    isTokenDenied: (tenant, tokenId) => read(() => denied.has(tenant, tokenId)),
  };
}
