import { z } from 'zod';
import { Scope } from './scopes.ts';
import { TenantName } from './tenant.ts';

/** The longest that a token of the service lives, and how long one does when the caller does not say, in seconds. */
export const MAX_TOKEN_SECONDS = 3_600;
const TOKEN_SECONDS = 900;
/** How long the former secret of a key goes on opening after a rotation, in seconds. */
const OVERLAP_SECONDS = 24 * 3_600;
const MAX_OVERLAP_SECONDS = 30 * 24 * 3_600;

/** A time of a caller's own; kept in UTC with milliseconds, so that texts compare like times. */
const Time = z.iso
  .datetime({ offset: true, error: 'is not a time as in 2030-01-31T12:00:00Z' })
  .transform((text) => new Date(text).toISOString());

const Scopes = z
  .array(Scope)
  .min(1)
  .max(16)
  .refine((scopes) => new Set(scopes).size === scopes.length, { error: 'names a scope twice' });

/** What a key may use up; what is left out is not limited by the key. */
export const KeyLimits = z.strictObject({
  concurrentRuns: z.int().min(1).max(1_000_000).optional(),
  startsPerMinute: z.int().min(1).max(1_000_000).optional(),
  bytesPerDay: z
    .int()
    .min(1)
    .max(2 ** 53 - 1)
    .optional(),
  spendUsdPerDay: z.number().positive().max(1_000_000_000).optional(),
});
export type KeyLimits = z.infer<typeof KeyLimits>;

/**
 * Those of them that are counted when something is asked for, of a key or of a tenant with all its keys: executions that
 * have not finished, waiting ones included; starts in any 60 seconds; bytes of requests and uploads in a UTC day.
 */
export type UsageLimits = Omit<KeyLimits, 'spendUsdPerDay'>;

const KeyName = z
  .string()
  .regex(/^[^\p{Cc}]{1,100}$/u, { error: 'is not 1 to 100 characters without control characters' });

export const NewKey = z.strictObject({
  name: KeyName,
  /** The tenant of the caller when left out; only the operator may name another. */
  tenant: TenantName.optional(),
  scopes: Scopes,
  expiresAt: Time.optional(),
  limits: KeyLimits.optional(),
});
export type NewKey = z.infer<typeof NewKey>;
export type NewKeyInput = z.input<typeof NewKey>;

/** A key as it is shown: everything but what opens. */
export const ServiceKey = z.object({
  id: z.string(),
  name: z.string(),
  tenant: z.string(),
  scopes: z.array(Scope),
  limits: KeyLimits.nullable(),
  createdAt: z.string(),
  expiresAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
  overlapEndsAt: z.string().nullable(),
});
export type ServiceKey = z.infer<typeof ServiceKey>;

/** `key` is shown this once. */
export const MadeKey = ServiceKey.extend({ key: z.string() });
export type MadeKey = z.infer<typeof MadeKey>;

export const KeyList = z.object({ keys: z.array(ServiceKey) });
export type KeyList = z.infer<typeof KeyList>;

export const KeyQuery = z.strictObject({ tenant: TenantName.optional() });

export const Rotation = z.strictObject({
  overlapSeconds: z.int().min(0).max(MAX_OVERLAP_SECONDS).default(OVERLAP_SECONDS),
});

export const TokenRequest = z.strictObject({
  /** A part of the scopes of the key; all of them when left out. */
  scopes: Scopes.optional(),
  expiresInSeconds: z.int().min(10).max(MAX_TOKEN_SECONDS).default(TOKEN_SECONDS),
});

export const IssuedToken = z.object({
  token: z.string(),
  tokenId: z.string(),
  tenant: z.string(),
  scopes: z.array(Scope),
  expiresAt: z.string(),
});
export type IssuedToken = z.infer<typeof IssuedToken>;

export const Revocation = z
  .strictObject({
    token: z.string().min(1).max(8_192).optional(),
    tokenId: z.string().min(1).max(256).optional(),
    tenant: TenantName.optional(),
  })
  .refine(({ token, tokenId }) => (token === undefined) !== (tokenId === undefined), {
    error: 'give either token or tokenId',
  });
