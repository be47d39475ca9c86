import type { Scope } from '../protocol/scopes.ts';
import { OPERATOR_TENANT } from '../protocol/tenant.ts';
import type { KeyRecord, KeyStorage } from '../storage/key-storage.ts';
import { writeKeyFile } from './key-file.ts';
import { idInKey, newKey, sameHash, sha256 } from './key-secret.ts';
import { createKeyUses } from './key-uses.ts';
import type { Principal } from './principal.ts';

const OPERATOR_KEY_ID = 'CC_API_KEY';
const ADMIN: readonly Scope[] = ['admin'];

/** A key that opens the service now. */
export interface OpenedKey {
  record: Pick<KeyRecord, 'id' | 'tenant' | 'scopes' | 'limits'>;
  /** From when on this secret of it opens nothing, in ms since 1970. */
  endsAt: number | undefined;
}

/** The keys that open the service: those in the store, and the one its operator has chosen. */
export class ServiceKeys {
  readonly #storage: KeyStorage;
  readonly #operatorHash: string | undefined;
  readonly #noteUse: (id: string) => void;

  /** @param options.operatorKey `CC_API_KEY`; the keys of the store count beside it */
  constructor(options: { storage: KeyStorage; operatorKey: string | undefined }) {
    this.#storage = options.storage;
    this.#operatorHash = options.operatorKey === undefined ? undefined : sha256(options.operatorKey);
    this.#noteUse = createKeyUses(options.storage);
  }

  /** Makes the first key, unless there is one; the plain key is returned this once, and written for the command line. */
  async makeFirst(dataDirectory: string): Promise<string | undefined> {
    if (this.#operatorHash !== undefined) return undefined;
    const { key, record } = newKey();
    if (!(await this.#storage.addFirstKey(record))) return undefined;
    await writeKeyFile(dataDirectory, key);
    return key;
  }

  /** Makes a new key in place of all others of the operator. */
  async reset(dataDirectory: string): Promise<string> {
    const { key, record } = newKey();
    await this.#storage.replaceKeys(record);
    await writeKeyFile(dataDirectory, key);
    return key;
  }

  /** Whose key this is; undefined for one that opens nothing. Takes the same time for every wrong one. */
  async verify(presented: string): Promise<Principal | undefined> {
    const hash = sha256(presented);
    const opened = await this.opened(idInKey(presented) ?? OPERATOR_KEY_ID, (known) => sameHash(known, hash));
    if (opened === undefined) return undefined;
    const { record, endsAt } = opened;
    const { id: keyId, tenant, scopes, limits } = record;
    const stands = async (): Promise<boolean> =>
      (await this.opened(keyId, (known) => sameHash(known, hash))) !== undefined;
    this.#noteUse(keyId);
    return { tenant, keyId, scopes, kind: 'key', limits, endsAt, stands };
  }

  /** The key of an id, if it counts now, and one of its secrets has a hash that `matches`. */
  async opened(id: string, matches: (hash: string) => boolean): Promise<OpenedKey | undefined> {
    if (id === OPERATOR_KEY_ID) return this.#operatorKey(matches);
    const record = await this.#storage.getKey(id);
    if (record === undefined || record.revokedAt !== null) return undefined;
    const expiresAt = record.expiresAt === null ? undefined : Date.parse(record.expiresAt);
    if (matches(record.sha256)) return within({ record, endsAt: expiresAt });
    const { former } = record;
    if (former === null || !matches(former.sha256)) return undefined;
    const endsAt = Math.min(Date.parse(former.until), expiresAt ?? Number.POSITIVE_INFINITY);
    return within({ record, endsAt });
  }

  #operatorKey(matches: (hash: string) => boolean): OpenedKey | undefined {
    const hash = this.#operatorHash;
    if (hash === undefined || !matches(hash)) return undefined;
    const record = { id: OPERATOR_KEY_ID, tenant: OPERATOR_TENANT, scopes: ADMIN, limits: null };
    return { record, endsAt: undefined };
  }
}

/** A time that cannot be read has passed. */
function within(key: OpenedKey): OpenedKey | undefined {
  return key.endsAt === undefined || key.endsAt > Date.now() ? key : undefined;
}
