import { z } from 'zod';
import { KeyLimits } from '../protocol/key-schemas.ts';
import { Scope } from '../protocol/scopes.ts';
import { OPERATOR_TENANT } from '../protocol/tenant.ts';
import type { BareKey, KeyRecord } from './key-storage.ts';

/**
 * A key as it is written. What a later version adds is not lost on the way through; a scope or a limit that is not known
 * here makes the key unreadable, and what is unreadable opens nothing.
 */
const KeyDocument = z.looseObject({
  id: z.string(),
  sha256: z.string(),
  createdAt: z.string(),
  name: z.string(),
  tenant: z.string(),
  scopes: z.array(Scope),
  limits: KeyLimits.nullable().default(null),
  expiresAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
  former: z.object({ sha256: z.string(), until: z.string() }).nullable().default(null),
});

export function keyDocument(key: KeyRecord): string {
  return JSON.stringify(key);
}

/** Undefined for what this version cannot read. */
export function readKeyDocument(text: string): KeyRecord | undefined {
  return KeyDocument.safeParse(JSON.parse(text)).data;
}

const BareKeyDocument = z.object({ id: z.string(), sha256: z.string(), createdAt: z.string() });

export function bareKeyDocument({ id, sha256, createdAt }: BareKey): string {
  return JSON.stringify({ id, sha256, createdAt });
}

export function readBareKey(text: string): KeyRecord {
  return operatorKey(BareKeyDocument.parse(JSON.parse(text)));
}

/** A key of which no more is kept than every layout knows. */
export function operatorKey({ id, sha256, createdAt }: BareKey): KeyRecord {
  return {
    id,
    sha256,
    createdAt,
    name: 'operator',
    tenant: OPERATOR_TENANT,
    scopes: ['admin'],
    limits: null,
    expiresAt: null,
    revokedAt: null,
    former: null,
  };
}
