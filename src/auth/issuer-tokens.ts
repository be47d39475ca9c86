import { z } from 'zod';
import { Scope } from '../protocol/scopes.ts';
import { TenantName } from '../protocol/tenant.ts';
import type { KeyStorage } from '../storage/key-storage.ts';
import { isSignedWith } from './check-signature.ts';
import type { IssuerKey } from './issuer-keys.ts';
import type { Principal } from './principal.ts';
import { isFor, isTimely, type TokenParts } from './token-form.ts';

/** The longest life that a token of the issuer may have been given, in seconds. */
export const MAX_ISSUER_SECONDS = 24 * 3_600;

/** `JWT`, or the type of an access token (RFC 9068 section 2.1), as media types are compared. */
const TYPES: readonly string[] = ['jwt', 'at+jwt', 'application/at+jwt'];

/** What a token must say of its bearer. `scope` is a text with spaces (RFC 8693 section 4.2), or a list. */
const BearerClaims = z.object({
  sub: z.string().min(1).max(256),
  tenant: TenantName,
  scope: z.union([z.string().max(4_096), z.array(z.string().max(256)).max(64)]).default(''),
});

export interface IssuerTokensOptions {
  issuer: string;
  audience: string;
  /** The key of a `kid`; a single key is that of every token. */
  findKey(kid: string | undefined): Promise<IssuerKey | undefined>;
  storage: Pick<KeyStorage, 'isTokenDenied'>;
}

/** Whose token this is that the operator's own issuer has made; undefined for one that opens nothing. */
export async function verifyIssuerToken(
  { issuer, audience, findKey, storage }: IssuerTokensOptions,
  presented: string,
  { header, claims }: TokenParts,
): Promise<Principal | undefined> {
  const bearer = BearerClaims.safeParse(claims).data;
  if (bearer === undefined || claims.iss !== issuer || !TYPES.includes(header.typ.toLowerCase())) return undefined;
  if (!isFor(claims, audience) || !isTimely(claims, MAX_ISSUER_SECONDS)) return undefined;
  const key = await findKey(header.kid);
  if (key === undefined || header.alg !== key.algorithm || !isSignedWith(presented, key)) return undefined;
  const { tenant, sub, scope } = bearer;
  const { jti } = claims;
  const isDenied = async (): Promise<boolean> => jti !== undefined && (await storage.isTokenDenied(tenant, jti));
  if (await isDenied()) return undefined;
  const endsAt = claims.exp * 1000;
  const names = typeof scope === 'string' ? scope.split(' ') : scope;
  return {
    ...{ tenant, keyId: `issuer:${sub}`, kind: 'issuer', limits: null, endsAt },
    // An issuer has scopes of other services too.
    scopes: names.flatMap((name) => Scope.safeParse(name).data ?? []),
    stands: async () => endsAt > Date.now() && !(await isDenied()),
  };
}
