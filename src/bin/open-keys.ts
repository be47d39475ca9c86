import { readFile } from 'node:fs/promises';
import { auditDraft } from '../audit/audit-draft.ts';
import { keyFile, writeKeyFile } from '../auth/key-file.ts';
import { createKeyRing, OPERATOR } from '../auth/key-ring.ts';
import { idInKey } from '../auth/key-secret.ts';
import { ServiceKeys } from '../auth/service-keys.ts';
import type { KeyClient } from '../client/server-keys.ts';
import type { Config } from '../config.ts';
import type { AuditAction } from '../protocol/audit.ts';
import { NewKey, Rotation } from '../protocol/key-schemas.ts';
import { parseInput } from '../protocol/parse-input.ts';
import { openRedisStorage } from '../storage/redis/redis-storage.ts';
import { openSqliteStorage } from '../storage/sqlite/sqlite-storage.ts';
import type { Storage } from '../storage/storage.ts';

/** The keys in the store of this configuration, with the rights of the operator: who can open the store has them. */
export async function openKeys(config: Config): Promise<KeyClient> {
  const storage = await openKeyStore(config);
  const ring = createKeyRing(storage);
  const { dataDirectory } = config;
  return {
    create: async (wanted) => {
      const made = await ring.create(OPERATOR, parseInput(NewKey, wanted));
      await noteDown(storage, 'key.create', made.id);
      return made;
    },
    list: (options) => ring.list(OPERATOR, options),
    revoke: async (id) => {
      const revoked = await ring.revoke(OPERATOR, id);
      await noteDown(storage, 'key.revoke', id);
      return revoked;
    },
    rotate: async (id, options) => {
      const made = await ring.rotate(OPERATOR, id, parseInput(Rotation, options));
      await noteDown(storage, 'key.rotate', id);
      if (idInKey(await keptKey(dataDirectory)) === id) await writeKeyFile(dataDirectory, made.key);
      return made;
    },
    close: () => storage.close(),
  };
}

/** Makes a new key in place of all others of the operator; a service that runs on the same store takes it at once. */
export async function resetServiceKey(config: Config): Promise<string> {
  const storage = await openKeyStore(config);
  try {
    const key = await new ServiceKeys({ storage, operatorKey: undefined }).reset(config.dataDirectory);
    await noteDown(storage, 'key.create', idInKey(key));
    return key;
  } finally {
    await storage.close();
  }
}

/** Who can open the store needs no key, and is written down all the same. */
function noteDown(storage: Storage, action: AuditAction, subject: string | undefined): Promise<void> {
  return storage.appendAudit([
    auditDraft({ tenant: OPERATOR.tenant }, { action, subject, detail: { by: 'the store' } }),
  ]);
}

async function openKeyStore({ redisUrl, redisPersistence, dataDirectory }: Config): Promise<Storage> {
  if (redisUrl === undefined) return openSqliteStorage({ dataDirectory });
  return openRedisStorage({ url: redisUrl, allowNoPersistence: redisPersistence === 'optional' });
}

/** The key of the command line of this machine; empty where there is none. */
async function keptKey(dataDirectory: string): Promise<string> {
  try {
    return (await readFile(keyFile(dataDirectory), 'utf8')).trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
