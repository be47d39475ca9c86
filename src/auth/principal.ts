import { ServiceError } from '../protocol/errors.ts';
import type { KeyLimits } from '../protocol/key-schemas.ts';
import { type Access, grants, isScope, type Scope } from '../protocol/scopes.ts';
import { OPERATOR_TENANT } from '../protocol/tenant.ts';
import type { PresentedCredential } from './presented-credential.ts';

/** Who is calling, once what was presented has said so. */
export interface Principal {
  /** Whose records may be seen; nothing of another tenant exists for this caller. */
  tenant: string;
  /** Which key it was, as logs may name it: the id of a service key, `CC_API_KEY`, or `issuer:SUBJECT`. */
  keyId: string;
  scopes: readonly Scope[];
  /**
   * A service key; a token that the service made for one; a token of the operator's issuer; a Claude credential of the
   * caller's own; nobody, where keys are off.
   */
  kind: 'key' | 'token' | 'issuer' | 'claude' | 'open';
  /** With `claude`: what pays for the caller's runs. */
  credential?: PresentedCredential;
  /** What the key may use up; null for no limits of its own. */
  limits: KeyLimits | null;
  /** From when on it opens nothing, in ms since 1970; undefined for never. */
  endsAt: number | undefined;
  /** Whether what was presented would still open: for connections that outlive it. Rejects when nobody can say. */
  stands(): Promise<boolean>;
}

/** Whether it is the operator, who may see what is of no tenant, and the keys of all. */
export function isOperator({ tenant, scopes }: Pick<Principal, 'tenant' | 'scopes'>): boolean {
  return tenant === OPERATOR_TENANT && scopes.includes('admin');
}

/** @throws ServiceError `forbidden` with the message, for all but the operator */
export function requireOperator(principal: Pick<Principal, 'tenant' | 'scopes'>, message: string): void {
  if (!isOperator(principal)) throw new ServiceError('forbidden', message, { data: { scope: 'admin' } });
}

/** @throws ServiceError `forbidden` naming the scope that is missing */
export function requireAccess({ scopes }: Pick<Principal, 'scopes'>, access: Access): void {
  if (grants(scopes, access)) return;
  const scope = isScope(access) ? access : 'admin';
  const message = `This needs the scope ${scope}, which the key does not have; use a key that has it`;
  throw new ServiceError('forbidden', message, { data: { scope } });
}
