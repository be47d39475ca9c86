import { ServiceError } from '../protocol/errors.ts';
import type { MadeKey, NewKey, ServiceKey } from '../protocol/key-schemas.ts';
import { grants } from '../protocol/scopes.ts';
import type { KeyRecord, KeyStorage, UsedKey } from '../storage/key-storage.ts';
import { newKey } from './key-secret.ts';
import { isOperator, type Principal, requireAccess } from './principal.ts';

const MAX_KEYS_OF_TENANT = 1_000;
const MAX_KEYS = 10_000;
/** A key that has ended is still listed for so long. */
const KEPT_AFTER_END_MS = 30 * 24 * 3_600_000;
const MAX_TRIES = 5;

/** Who changes keys: a caller with the scope `admin`. */
export type KeyAdmin = Pick<Principal, 'tenant' | 'scopes' | 'kind'>;

/** The operator at the machine itself. */
export const OPERATOR: KeyAdmin = { tenant: 'local', scopes: ['admin'], kind: 'key' };

/** The keys of a store, as callers with the scope `admin` see and change them. */
export interface KeyRing {
  create(admin: KeyAdmin, wanted: NewKey): Promise<MadeKey>;
  list(admin: KeyAdmin, filter: { tenant?: string | undefined }): Promise<ServiceKey[]>;
  revoke(admin: KeyAdmin, id: string): Promise<ServiceKey>;
  rotate(admin: KeyAdmin, id: string, how: { overlapSeconds: number }): Promise<MadeKey>;
}

export function createKeyRing(storage: KeyStorage): KeyRing {
  return {
    create: (admin, wanted) => createKey(storage, admin, wanted),
    list: (admin, filter) => listKeys(storage, admin, filter),
    revoke: (admin, id) => revokeKey(storage, admin, id),
    rotate: (admin, id, how) => rotateKey(storage, { admin, id }, how),
  };
}

/**
 * Makes a key; the plain one is returned this once.
 * @throws ServiceError `forbidden` for another tenant's, for scopes beyond one's own, and for who comes with a token of
 * the service; `invalid_request` for an end that has passed; `too_many`
 */
export async function createKey(storage: KeyStorage, admin: KeyAdmin, wanted: NewKey): Promise<MadeKey> {
  refuseToken(admin);
  const { name, tenant = admin.tenant, scopes, expiresAt = null, limits = null } = wanted;
  if (tenant !== admin.tenant && !isOperator(admin)) {
    const message = `Keys of other tenants than ${admin.tenant} are made by the operator; leave tenant out`;
    throw new ServiceError('forbidden', message, { data: { scope: 'admin' } });
  }
  for (const scope of scopes) if (!grants(admin.scopes, scope)) requireAccess(admin, scope);
  if (expiresAt !== null && Date.parse(expiresAt) <= Date.now()) throw invalid('expiresAt', 'has passed already');
  await makeRoom(storage, tenant);
  const { key, record } = newKey();
  const kept: KeyRecord = { ...record, name, tenant, scopes, limits, expiresAt, revokedAt: null, former: null };
  await storage.addKey(kept);
  return { ...shownKey({ ...kept, lastUsedAt: null }), key };
}

/** The keys of the caller's tenant; for the operator those of `tenant`, or of all. */
export async function listKeys(
  storage: KeyStorage,
  admin: KeyAdmin,
  { tenant }: { tenant?: string | undefined },
): Promise<ServiceKey[]> {
  if (tenant !== undefined && tenant !== admin.tenant && !isOperator(admin)) return [];
  const keys = await storage.listKeys(isOperator(admin) ? tenant : admin.tenant);
  return keys.map(shownKey);
}

/** @throws ServiceError `not_found`, also for a key of another tenant */
export async function revokeKey(storage: KeyStorage, admin: KeyAdmin, id: string): Promise<ServiceKey> {
  const revoked = await change(storage, { admin, id }, (key) =>
    key.revokedAt === null ? { ...key, revokedAt: new Date().toISOString(), former: null } : key,
  );
  return shownKey(await withUse(storage, revoked));
}

/**
 * Gives a key a new secret, which is returned this once; the former one opens for `overlapSeconds` more.
 * @throws ServiceError `not_found`, also for a key of another tenant; `conflict` for one that has ended; `forbidden` for
 * who comes with a token of the service
 */
export async function rotateKey(
  storage: KeyStorage,
  { admin, id }: { admin: KeyAdmin; id: string },
  { overlapSeconds }: { overlapSeconds: number },
): Promise<MadeKey> {
  refuseToken(admin);
  const { key, record } = newKey(id);
  const rotated = await change(storage, { admin, id }, (before) => {
    if (endOf(before) !== undefined) {
      throw new ServiceError('conflict', `The key ${id} has ended; make a new one instead`, {
        data: { state: 'ended' },
      });
    }
    const until = new Date(Date.now() + overlapSeconds * 1000).toISOString();
    const former = overlapSeconds === 0 ? null : { sha256: before.sha256, until };
    return { ...before, sha256: record.sha256, former };
  });
  return { ...shownKey(await withUse(storage, rotated)), key };
}

/** Changes a key as it is at that moment, whoever else changes it. */
async function change(
  storage: KeyStorage,
  { admin, id }: { admin: KeyAdmin; id: string },
  changed: (key: KeyRecord) => KeyRecord,
): Promise<KeyRecord> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const before = await storage.getKey(id);
    if (before === undefined || !(isOperator(admin) || before.tenant === admin.tenant)) {
      throw new ServiceError('not_found', `There is no key ${id.slice(0, 200)}`);
    }
    const after = changed(before);
    if (after === before || (await storage.changeKey(before, after))) return after;
  }
  throw new ServiceError('conflict', `The key ${id} is being changed by others; try again`);
}

/** Removes what ended long ago. @throws ServiceError `too_many` */
async function makeRoom(storage: KeyStorage, tenant: string): Promise<void> {
  const keys = await storage.listKeys(undefined);
  const old = keys.filter((key) => (endOf(key) ?? Number.POSITIVE_INFINITY) < Date.now() - KEPT_AFTER_END_MS);
  if (old.length > 0) await storage.removeKeys(old.map(({ id }) => id));
  const left = keys.filter((key) => !old.includes(key));
  const own = left.filter((key) => key.tenant === tenant);
  if (own.length < MAX_KEYS_OF_TENANT && left.length < MAX_KEYS) return;
  const message = `There are ${own.length} keys of ${tenant} and ${MAX_KEYS_OF_TENANT} is the most; those that have ended go after 30 days`;
  throw new ServiceError('too_many', message, { data: { retryAfterMs: 3_600_000 } });
}

/** When it ended, in ms since 1970; undefined while it counts. */
function endOf({ revokedAt, expiresAt }: KeyRecord): number | undefined {
  if (revokedAt !== null) return Date.parse(revokedAt);
  const end = expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt);
  return end <= Date.now() ? end : undefined;
}

function refuseToken({ kind }: KeyAdmin): void {
  if (kind !== 'token') return;
  const message = 'A token is short-lived, and a key that it made would not be; call with the service key itself';
  throw new ServiceError('forbidden', message, { data: { scope: 'admin' } });
}

async function withUse(storage: KeyStorage, key: KeyRecord): Promise<UsedKey> {
  const listed = await storage.listKeys(key.tenant);
  return { ...key, lastUsedAt: listed.find(({ id }) => id === key.id)?.lastUsedAt ?? null };
}

function shownKey(key: UsedKey): ServiceKey {
  const { id, name, tenant, scopes, limits, createdAt, expiresAt, lastUsedAt, revokedAt, former } = key;
  const overlapEndsAt = former !== null && Date.parse(former.until) > Date.now() ? former.until : null;
  return { id, name, tenant, scopes: [...scopes], limits, createdAt, expiresAt, lastUsedAt, revokedAt, overlapEndsAt };
}

function invalid(path: string, message: string): ServiceError {
  return new ServiceError('invalid_request', `${path} ${message}`, { data: { errors: [{ path, message }] } });
}
