import { createHmac, createSecretKey, type KeyObject, randomUUID } from 'node:crypto';
import jsonwebtoken from 'jsonwebtoken';
import { z } from 'zod';
import { ServiceError } from '../protocol/errors.ts';
import { type IssuedToken, MAX_TOKEN_SECONDS } from '../protocol/key-schemas.ts';
import { grants, Scope } from '../protocol/scopes.ts';
import type { KeyStorage } from '../storage/key-storage.ts';
import { isSignedWith } from './check-signature.ts';
import { sameHash } from './key-secret.ts';
import { type Principal, requireAccess } from './principal.ts';
import type { ServiceKeys } from './service-keys.ts';
import { isFor, isTimely, type TokenParts } from './token-form.ts';

/** `iss` and `aud` of the tokens that the service makes; no issuer of the operator's may have this name. */
export const OWN_ISSUER = 'cc-executor';

const ALGORITHM = 'HS256';

/** `sub` is the id of the key, `gen` says which of its secrets it was made for. */
const OwnClaims = z.object({
  sub: z.string().min(1).max(64),
  jti: z.string().min(1),
  gen: z.string().regex(/^[0-9a-f]{64}$/),
  scope: z.string().max(256),
});

export interface OwnTokensDeps {
  keys: Pick<ServiceKeys, 'opened' | 'verify'>;
  storage: Pick<KeyStorage, 'isTokenDenied'>;
  /** The secret, 32 bytes or more. */
  secret: string;
}

/** The tokens that the service makes of its keys. They live no longer than their key, and no longer than its secret. */
export class OwnTokens {
  readonly #deps: OwnTokensDeps;
  readonly #key: KeyObject;

  constructor(deps: OwnTokensDeps) {
    this.#deps = deps;
    this.#key = createSecretKey(Buffer.from(deps.secret));
  }

  /**
   * Makes a token of the key that the caller has presented.
   * @throws ServiceError `forbidden` for scopes that the key does not have, and for who comes with a token
   */
  async issue(
    principal: Principal,
    { presentedHash, scopes = principal.scopes, expiresInSeconds }: IssueOptions,
  ): Promise<IssuedToken> {
    if (principal.kind !== 'key' || presentedHash === undefined) {
      const message = 'Tokens are made with a service key, not with a token; call with the key itself';
      throw new ServiceError('forbidden', message);
    }
    for (const scope of scopes) if (!grants(principal.scopes, scope)) requireAccess(principal, scope);
    const now = Math.floor(Date.now() / 1000);
    const keyEnd = principal.endsAt === undefined ? Number.POSITIVE_INFINITY : Math.floor(principal.endsAt / 1000);
    const [exp, tokenId] = [Math.min(now + expiresInSeconds, keyEnd), randomUUID()];
    const claims = {
      ...{ iss: OWN_ISSUER, aud: OWN_ISSUER, sub: principal.keyId, tenant: principal.tenant, jti: tokenId },
      ...{ iat: now, nbf: now, exp, scope: scopes.join(' '), gen: this.#generation(presentedHash) },
    };
    const token = jsonwebtoken.sign(claims, this.#key, { algorithm: ALGORITHM });
    const expiresAt = new Date(exp * 1000).toISOString();
    return { token, tokenId, tenant: principal.tenant, scopes: [...scopes], expiresAt };
  }

  /** Whose token this is; undefined for one that opens nothing. */
  async verify(presented: string, { header, claims }: TokenParts): Promise<Principal | undefined> {
    const own = OwnClaims.safeParse(claims).data;
    if (own === undefined || header.alg !== ALGORITHM || header.typ !== 'JWT' || header.kid !== undefined)
      return undefined;
    if (!isFor(claims, OWN_ISSUER) || !isTimely(claims, MAX_TOKEN_SECONDS)) return undefined;
    if (!isSignedWith(presented, { key: this.#key, algorithm: ALGORITHM })) return undefined;
    const found = await this.#standing(own);
    if (found === undefined) return undefined;
    const { id: keyId, tenant, limits, scopes: ofKey } = found;
    const scopes = own.scope.split(' ').flatMap((name) => Scope.safeParse(name).data ?? []);
    const endsAt = claims.exp * 1000;
    return {
      ...{ tenant, keyId, kind: 'token', limits, endsAt },
      scopes: scopes.filter((scope) => grants(ofKey, scope)),
      stands: async () => endsAt > Date.now() && (await this.#standing(own)) !== undefined,
    };
  }

  /** The key that a token was made of, if it counts still, and the token was not revoked. */
  async #standing({ sub, gen, jti }: z.output<typeof OwnClaims>) {
    const { keys, storage } = this.#deps;
    const opened = await keys.opened(sub, (hash) => sameHash(this.#generation(hash), gen));
    if (opened === undefined || (await storage.isTokenDenied(opened.record.tenant, jti))) return undefined;
    return opened.record;
  }

  /** Names a secret of a key without telling anything about it, not even its hash. */
  #generation(hash: string): string {
    return createHmac('sha256', this.#key).update(`secret of a key: ${hash}`).digest('hex');
  }
}

export interface IssueOptions {
  /** The hash of the key that was presented. */
  presentedHash: string | undefined;
  scopes?: readonly Scope[] | undefined;
  expiresInSeconds: number;
}
