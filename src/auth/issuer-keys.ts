import { createPublicKey, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { parsedJson } from '../protocol/json.ts';
import type { Algorithm } from './check-signature.ts';

/** A key of the operator's issuer, and the one algorithm that it is for. */
export interface IssuerKey {
  key: KeyObject;
  algorithm: Algorithm;
}

const LEAST_RSA_BITS = 2_048;
const MAX_KEYS = 100;
const RSA: readonly Algorithm[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
/** By the curve as Node names it (RFC 7518 section 3.4). */
const BY_CURVE: Readonly<Record<string, Algorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };

/** A key of a set (RFC 7517 section 4); what else it says is not looked at. */
const Jwk = z.looseObject({
  kty: z.enum(['RSA', 'EC']),
  kid: z.string().min(1).max(256),
  use: z.literal('sig').optional(),
  alg: z.string().optional(),
  key_ops: z.array(z.string()).optional(),
});

/**
 * The keys of a JWKS by their `kid`, those that cannot check a signature left out.
 * @throws Error for what is no JWKS, or one of more than 100 keys
 */
export function keysInSet(text: string): Map<string, IssuerKey> {
  const set = z.looseObject({ keys: z.array(z.unknown()).max(MAX_KEYS) }).safeParse(parsedJson(text)).data;
  if (set === undefined) throw new Error(`it is no JWKS of up to ${MAX_KEYS} keys`);
  const found = new Map<string, IssuerKey>();
  for (const entry of set.keys) {
    const jwk = Jwk.safeParse(entry).data;
    if (jwk === undefined || jwk.key_ops?.includes('verify') === false) continue;
    const key = keyOf(jwk);
    if (key !== undefined && !found.has(jwk.kid)) found.set(jwk.kid, key);
  }
  return found;
}

/**
 * A public key in PEM.
 * @throws Error for what is none, is a private one, or is of a kind or length that is not taken
 */
export function keyInPem(text: string): IssuerKey {
  if (text.includes('PRIVATE KEY')) throw new Error('it is a private key; give the public one');
  const key = pinned(createPublicKey(text), undefined);
  if (key === undefined) throw new Error('it is no RSA key of 2048 bits or more, and none on P-256, P-384 or P-521');
  return key;
}

function keyOf({ kty, n, e, crv, x, y, alg }: z.output<typeof Jwk>): IssuerKey | undefined {
  try {
    // Only what a public key is made of: a set that gives the private parts too is read as if it did not.
    const parts = kty === 'RSA' ? { kty, n, e } : { kty, crv, x, y };
    return pinned(createPublicKey({ key: JSON.parse(JSON.stringify(parts)), format: 'jwk' }), alg);
  } catch (error) {
    // Node throws one of these for every key that is wrong.
    if (error instanceof TypeError || (error instanceof Error && 'code' in error)) return undefined;
    throw error;
  }
}

/** With the algorithm that its set gives it, or that its kind is for; undefined where it is not taken. */
function pinned(key: KeyObject, alg: string | undefined): IssuerKey | undefined {
  const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = key;
  if (kind === 'rsa') {
    const algorithm = alg === undefined ? 'RS256' : RSA.find((name) => name === alg);
    return algorithm === undefined || (details?.modulusLength ?? 0) < LEAST_RSA_BITS ? undefined : { key, algorithm };
  }
  const algorithm = kind === 'ec' ? BY_CURVE[details?.namedCurve ?? ''] : undefined;
  return algorithm === undefined || (alg !== undefined && alg !== algorithm) ? undefined : { key, algorithm };
}
