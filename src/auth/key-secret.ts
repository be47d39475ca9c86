import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { BareKey } from '../storage/key-storage.ts';

/** `cck_<id>_<secret>`: the id names the key in the store, the secret has 192 random bits. */
const KEY_FORM = /^cck_([0-9a-f]{16})_[A-Za-z0-9_-]{32}$/;

/** The id in a key; undefined for what is no key of the service. */
export function idInKey(presented: string): string | undefined {
  return KEY_FORM.exec(presented)?.[1];
}

/** A new key, and what is kept of it. */
export function newKey(id: string = randomBytes(8).toString('hex')): { key: string; record: BareKey } {
  const key = `cck_${id}_${randomBytes(24).toString('base64url')}`;
  return { key, record: { id, sha256: sha256(key), createdAt: new Date().toISOString() } };
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** In constant time; both are hashes of the same kind. */
export function sameHash(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}
