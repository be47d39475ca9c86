import { ServiceError } from '../protocol/errors.ts';
import type { IssuedToken } from '../protocol/key-schemas.ts';
import { MAX_TOKEN_SECONDS } from '../protocol/key-schemas.ts';
import type { Scope } from '../protocol/scopes.ts';
import { OPERATOR_TENANT } from '../protocol/tenant.ts';
import type { KeyStorage } from '../storage/key-storage.ts';
import { type IssuerTokensOptions, MAX_ISSUER_SECONDS, verifyIssuerToken } from './issuer-tokens.ts';
import { sha256 } from './key-secret.ts';
import { OWN_ISSUER, OwnTokens } from './own-tokens.ts';
import { isOperator, type Principal, requireAccess } from './principal.ts';
import type { ServiceKeys } from './service-keys.ts';
import { looksLikeToken, MAX_TOKEN_LENGTH, readToken, type TokenParts } from './token-form.ts';

export interface CallersOptions {
  storage: KeyStorage;
  keys: ServiceKeys;
  /** Signs the tokens of the service; 32 bytes or more. */
  jwtSecret: string;
  /** The operator's own issuer. */
  issuer: Omit<IssuerTokensOptions, 'storage'> | undefined;
  /** Whether a caller without a key is the operator; for loopback alone. */
  open: boolean;
}

/** Says of everything that may be presented who it is, on every door. */
export class Callers {
  readonly #options: CallersOptions;
  readonly #ownTokens: OwnTokens;

  constructor(options: CallersOptions) {
    const { keys, storage, jwtSecret: secret } = options;
    this.#options = options;
    this.#ownTokens = new OwnTokens({ keys, storage, secret });
  }

  /**
   * Who presents this; undefined for what opens nothing, and for nothing unless the doors are open.
   * @throws ServiceError `storage_unavailable`
   */
  async verify(presented: string | undefined): Promise<Principal | undefined> {
    if (presented === undefined) return this.#options.open ? OPEN : undefined;
    if (presented.length > MAX_TOKEN_LENGTH) return undefined;
    return looksLikeToken(presented) ? this.#verifyToken(presented) : this.#options.keys.verify(presented);
  }

  /**
   * Makes a token of the key that was presented.
   * @throws ServiceError `forbidden`
   */
  issueToken(
    principal: Principal,
    presented: string | undefined,
    wanted: { scopes?: readonly Scope[] | undefined; expiresInSeconds: number },
  ): Promise<IssuedToken> {
    const presentedHash = presented === undefined ? undefined : sha256(presented);
    return this.#ownTokens.issue(principal, { ...wanted, presentedHash });
  }

  /**
   * Makes a token open nothing any more, on every node that shares the store.
   * @throws ServiceError `not_found` for what is no token that counts, or one of another tenant; `forbidden`
   */
  async revokeToken(principal: Principal, { token, tokenId, tenant = principal.tenant }: RevokedToken): Promise<void> {
    if (token !== undefined) return this.#revokePresented(principal, token);
    requireAccess(principal, 'admin');
    if (tenant !== principal.tenant && !isOperator(principal)) {
      const message = 'Tokens of other tenants are revoked by the operator; leave tenant out';
      throw new ServiceError('forbidden', message, { data: { scope: 'admin' } });
    }
    if (tokenId !== undefined) await this.#deny(tenant, tokenId, Date.now() + LONGEST_LIFE_MS);
  }

  async #verifyToken(presented: string, parts = readToken(presented)): Promise<Principal | undefined> {
    const { issuer, storage } = this.#options;
    if (parts === undefined) return undefined;
    // The issuer that a token names decides which key it is checked with, and only that one.
    if (parts.claims.iss === OWN_ISSUER) return this.#ownTokens.verify(presented, parts);
    return issuer === undefined ? undefined : verifyIssuerToken({ ...issuer, storage }, presented, parts);
  }

  async #revokePresented(principal: Principal, token: string): Promise<void> {
    const parts = readToken(token);
    const bearer = await this.#verifyToken(token, parts);
    const named: TokenParts['claims'] | undefined = parts?.claims;
    if (bearer === undefined || named === undefined || !(isOperator(principal) || bearer.tenant === principal.tenant)) {
      throw new ServiceError('not_found', 'This is no token that opens anything');
    }
    if (named.jti === undefined) {
      const message = 'token has no jti, so it cannot be told from others; have the issuer give its tokens one';
      throw new ServiceError('invalid_request', message, { data: { errors: [{ path: 'token', message }] } });
    }
    await this.#deny(bearer.tenant, named.jti, named.exp * 1000);
  }

  #deny(tenant: string, tokenId: string, until: number): Promise<void> {
    return this.#options.storage.denyToken(tenant, tokenId, until);
  }
}

/** As in the contract: the token itself, or its id and tenant. */
export interface RevokedToken {
  token?: string | undefined;
  tokenId?: string | undefined;
  tenant?: string | undefined;
}

const LONGEST_LIFE_MS = Math.max(MAX_TOKEN_SECONDS, MAX_ISSUER_SECONDS) * 1000;

/** Who calls where no key is asked for. */
const OPEN: Principal = {
  tenant: OPERATOR_TENANT,
  keyId: 'none',
  scopes: ['admin'],
  kind: 'open',
  limits: null,
  endsAt: undefined,
  stands: async () => true,
};
