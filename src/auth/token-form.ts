import { z } from 'zod';
import { ServiceError } from '../protocol/errors.ts';
import { parseJson } from '../protocol/json.ts';

/** The longest token that is looked at, in characters. */
export const MAX_TOKEN_LENGTH = 8_192;
/** How far ahead the clock of whoever made a token may be, in seconds. Behind it there is no such allowance. */
const CLOCK_TOLERANCE_S = 30;
const MAX_TEXT = 256;

/**
 * The header of a JWT (RFC 7515 section 4.1). A header that names a key (`jku`, `jwk`, `x5u`, `x5c`), compresses (`zip`) or
 * must be understood (`crit`) has no place in it. Thumbprints of certificates are hints, and not looked at.
 */
const Header = z.strictObject({
  alg: z.string().max(16),
  typ: z.string().max(32),
  kid: z.string().min(1).max(MAX_TEXT).optional(),
  x5t: z.string().max(MAX_TEXT).optional(),
  'x5t#S256': z.string().max(MAX_TEXT).optional(),
});

const Seconds = z.int().min(0).max(100_000_000_000);
const Name = z.string().min(1).max(MAX_TEXT);

/** What every token says of itself (RFC 7519 section 4.1), and what else stands in it. */
const Claims = z.looseObject({
  iss: z.string().max(1_024),
  aud: z.union([z.string().max(1_024), z.array(z.string().max(1_024)).min(1).max(16)]),
  exp: Seconds,
  nbf: Seconds,
  jti: Name.optional(),
});

export interface TokenParts {
  header: z.output<typeof Header>;
  claims: z.output<typeof Claims>;
}

/** Whether something that was presented is to be taken for a token, good or bad, and not for a key. */
export function looksLikeToken(presented: string): boolean {
  return presented.startsWith('eyJ') && presented.split('.', 3).length === 3;
}

/**
 * The parts of a token whose signature nobody has checked yet. Undefined for what is too long, not in canonical base64url
 * (so that one token has one text), not JSON that everybody reads alike, or not of the form above.
 */
export function readToken(presented: string): TokenParts | undefined {
  if (presented.length > MAX_TOKEN_LENGTH) return undefined;
  const parts = presented.split('.');
  const [header, claims] = parts;
  if (parts.length !== 3 || header === undefined || claims === undefined) return undefined;
  if (!parts.every(isCanonical)) return undefined;
  const read = { header: Header.safeParse(jsonIn(header)).data, claims: Claims.safeParse(jsonIn(claims)).data };
  return read.header === undefined || read.claims === undefined
    ? undefined
    : { header: read.header, claims: read.claims };
}

/** Whether a token counts now, and was not made to live longer than `maxSeconds`. */
export function isTimely({ exp, nbf }: TokenParts['claims'], maxSeconds: number): boolean {
  const now = Math.floor(Date.now() / 1000);
  return exp > now && nbf <= now + CLOCK_TOLERANCE_S && exp - nbf <= maxSeconds;
}

export function isFor({ aud }: TokenParts['claims'], audience: string): boolean {
  return typeof aud === 'string' ? aud === audience : aud.includes(audience);
}

function isCanonical(part: string): boolean {
  return part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part;
}

/** Undefined for what is no JSON, or ambiguous. */
function jsonIn(part: string): unknown {
  try {
    return parseJson(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(part, 'base64url')));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof ServiceError) return undefined;
    throw error;
  }
}
