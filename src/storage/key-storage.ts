import type { KeyLimits } from '../protocol/key-schemas.ts';
import type { Scope } from '../protocol/scopes.ts';

/** What every layout knows of a key. Where nothing else is kept, it is an unlimited key of the operator. */
export interface BareKey {
  /** The part of the key that names it. */
  id: string;
  /** SHA-256 of the whole key, in hex. */
  sha256: string;
  createdAt: string;
}

/** A service API key as it is kept: the key itself is known to its holder alone. Times are RFC 3339 UTC with ms. */
export interface KeyRecord extends BareKey {
  name: string;
  tenant: string;
  scopes: readonly Scope[];
  limits: KeyLimits | null;
  expiresAt: string | null;
  revokedAt: string | null;
  /** The hash before the last rotation, and until when it opens too. */
  former: { sha256: string; until: string } | null;
}

/** A key with the last time it opened something, which is kept apart from it: to the minute, null for never. */
export interface UsedKey extends KeyRecord {
  lastUsedAt: string | null;
}

/**
 * The part of `Storage` about what opens the service. All of it throws `ServiceError` `storage_unavailable`.
 *
 * Keys with anything beyond `BareKey` are kept where a program of the layout before does not look: it would take each of
 * them for an unlimited key (docs/adr/0012-callers.md).
 */
export interface KeyStorage {
  /** Keeps a key of the operator if there is no key yet; returns whether it is kept. Of several callers one succeeds. */
  addFirstKey(key: BareKey): Promise<boolean>;
  /** Keeps this key of the operator, and no other one of that tenant. */
  replaceKeys(key: BareKey): Promise<void>;
  /** @throws ServiceError `conflict` for an id that there is */
  addKey(key: KeyRecord): Promise<void>;
  /**
   * Stores `after` if the key has still the hash of `before` and is revoked like it; returns whether it was stored. Both
   * have the same id and tenant.
   */
  changeKey(before: KeyRecord, after: KeyRecord): Promise<boolean>;
  getKey(id: string): Promise<KeyRecord | undefined>;
  /** Those of a tenant, or all; oldest first. */
  listKeys(tenant: string | undefined): Promise<UsedKey[]>;
  removeKeys(ids: readonly string[]): Promise<void>;
  /** Remembers when a key last opened something; an earlier time than what is remembered changes nothing. */
  noteKeyUse(id: string, at: string): Promise<void>;

  /**
   * Remembers until `until` (ms since 1970) that a token of the tenant opens nothing.
   * @throws ServiceError `too_many` beyond 100,000 of a tenant
   */
  denyToken(tenant: string, tokenId: string, until: number): Promise<void>;
  isTokenDenied(tenant: string, tokenId: string): Promise<boolean>;
}

export const MAX_DENIED_TOKENS = 100_000;
