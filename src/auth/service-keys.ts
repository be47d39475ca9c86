import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KeyRecord, Storage } from '../storage/storage.ts';
import type { Principal } from './principal.ts';

/** `cck_<id>_<secret>`: the id names the key in the store, the secret has 192 random bits. */
const KEY_FORM = /^cck_([0-9a-f]{16})_[A-Za-z0-9_-]{32}$/;
const OPERATOR_KEY_ID = 'CC_API_KEY';

/** Where the plain key is kept for the command line of the same machine. */
export function keyFile(dataDirectory: string): string {
  return join(dataDirectory, 'key');
}

/** The keys that open the service: the one made at its first start, or the one its operator has chosen. */
export class ServiceKeys {
  readonly #storage: Pick<Storage, 'addFirstKey' | 'replaceKeys' | 'getKey'>;
  readonly #operatorKey: string | undefined;

  /** @param options.operatorKey `CC_API_KEY`; the keys of the store count beside it */
  constructor(options: {
    storage: Pick<Storage, 'addFirstKey' | 'replaceKeys' | 'getKey'>;
    operatorKey: string | undefined;
  }) {
    this.#storage = options.storage;
    this.#operatorKey = options.operatorKey;
  }

  /** Makes the first key, unless there is one; the plain key is returned this once, and written for the command line. */
  async makeFirst(dataDirectory: string): Promise<string | undefined> {
    if (this.#operatorKey !== undefined) return undefined;
    const { key, record } = newKey();
    if (!(await this.#storage.addFirstKey(record))) return undefined;
    await writeKeyFile(dataDirectory, key);
    return key;
  }

  /** Makes a new key in place of all others. */
  async reset(dataDirectory: string): Promise<string> {
    const { key, record } = newKey();
    await this.#storage.replaceKeys(record);
    await writeKeyFile(dataDirectory, key);
    return key;
  }

  /** Whose key this is; undefined for one that opens nothing. Takes the same time for every wrong one. */
  async verify(presented: string | undefined): Promise<Principal | undefined> {
    if (presented === undefined) return undefined;
    if (this.#operatorKey !== undefined && sameHash(sha256(presented), sha256(this.#operatorKey))) {
      return { tenant: 'local', keyId: OPERATOR_KEY_ID, limits: null };
    }
    const id = KEY_FORM.exec(presented)?.[1];
    const record = id === undefined ? undefined : await this.#storage.getKey(id);
    if (id === undefined || record === undefined) return undefined;
    return sameHash(sha256(presented), record.sha256) ? { tenant: 'local', keyId: id, limits: null } : undefined;
  }
}

function newKey(): { key: string; record: KeyRecord } {
  const id = randomBytes(8).toString('hex');
  const key = `cck_${id}_${randomBytes(24).toString('base64url')}`;
  return { key, record: { id, sha256: sha256(key), createdAt: new Date().toISOString() } };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function sameHash(left: string, right: string): boolean {
  return timingSafeEqual(Buffer.from(left), Buffer.from(right));
}

/** Never readable by others, not even for a moment, and never half written. */
async function writeKeyFile(dataDirectory: string, key: string): Promise<void> {
  const file = keyFile(dataDirectory);
  const fresh = `${file}.${randomBytes(4).toString('hex')}`;
  try {
    await writeFile(fresh, `${key}\n`, { mode: 0o600, flag: 'wx' });
    await rename(fresh, file);
  } finally {
    await rm(fresh, { force: true });
  }
}
