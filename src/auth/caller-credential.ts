import { createHmac, randomBytes } from 'node:crypto';
import { ServiceError } from '../protocol/errors.ts';
import { payingTenant } from '../protocol/paying-tenant.ts';
import type { Scope } from '../protocol/scopes.ts';
import type { PayerStorage } from '../storage/payer-storage.ts';
import { MaxAccount } from './max-account.ts';
import { PresentedCredential } from './presented-credential.ts';
import type { Principal } from './principal.ts';
import { RememberedAnswers } from './remembered-answers.ts';

const SECRET_NAME = 'caller-tenants-secret';
const SCOPES: readonly Scope[] = ['executions:read', 'executions:write', 'workspaces:read', 'workspaces:write'];
/** Credentials that are being checked at once; each costs a call of the model API. */
const MAX_CHECKS = 16;

export interface CallerCredentialsOptions {
  storage: Pick<PayerStorage, 'keepValue' | 'replaceValue' | 'getValue'>;
  allowMax: boolean;
  /** Asks the model API whether it takes a credential. */
  attempt(credential: PresentedCredential): Promise<{ answer: 'accepted' | 'refused' | 'unknown'; detail: string }>;
  /** Told when a tenant's Max token has become the account of the service. */
  onPinned?(tenant: string): void;
  /** In ms, monotonic. */
  now?: () => number;
}

/**
 * Callers' own Claude credentials as keys of the service. Each is asked of the model API once in 5 minutes (a refused one
 * once in 30 s). Its holder is a tenant of their own, named by an HMAC under a secret that the whole service shares: the
 * same on every node and after every start, and no way back to the credential.
 */
export class CallerCredentials {
  readonly account: MaxAccount;
  readonly #options: CallerCredentialsOptions;
  readonly #answers: RememberedAnswers;
  readonly #checking = new Map<string, Promise<'taken' | 'refused'>>();
  #secret: string | undefined;

  constructor(options: CallerCredentialsOptions) {
    this.#options = options;
    this.#answers = new RememberedAnswers(options.now);
    this.account = new MaxAccount(options.storage);
  }

  /**
   * Who presents a Claude credential; `undefined` for what is none, and for one that the model API refuses.
   * @throws ServiceError `unauthenticated` with the reason for a Max token that is not taken here, `too_many`,
   * `model_api_unreachable` when the credential could not be checked, `storage_unavailable`
   */
  async verify(presented: string): Promise<Principal | undefined> {
    const credential = PresentedCredential.parse(presented);
    if (credential === undefined) return undefined;
    if (credential.kind === 'max' && !this.#options.allowMax) {
      const message = 'This service takes no Claude Max token (CC_ALLOW_MAX is off). Present an Anthropic API key.';
      throw new ServiceError('unauthenticated', message);
    }
    if ((await this.#check(credential)) === 'refused') return undefined;
    const tenant = payingTenant(await this.fingerprint('tenant', presented));
    if (credential.kind === 'max' && (await this.account.admit(await this.fingerprint('max', presented)))) {
      this.#options.onPinned?.(tenant);
    }
    return {
      ...{ tenant, keyId: tenant, scopes: SCOPES, kind: 'claude', credential, limits: null, endsAt: undefined },
      stands: () => this.#stands(presented),
    };
  }

  async #stands(presented: string): Promise<boolean> {
    try {
      return (await this.verify(presented)) !== undefined;
    } catch (error) {
      if (error instanceof ServiceError && error.code === 'unauthenticated') return false;
      throw error;
    }
  }

  /** HMAC-SHA256 of a credential in hex, under the secret of the service; `purpose` keeps one use apart from the other. */
  async fingerprint(purpose: 'tenant' | 'max', credential: string): Promise<string> {
    this.#secret ??= await this.#options.storage.keepValue(SECRET_NAME, randomBytes(32).toString('base64url'));
    return createHmac('sha256', this.#secret).update(`${purpose}\n${credential}`).digest('hex');
  }

  /** One check of a credential at a time: everyone who presents it meanwhile gets its answer. */
  async #check(credential: PresentedCredential): Promise<'taken' | 'refused'> {
    const secret = credential.reveal();
    const known = this.#answers.find(secret);
    if (known !== undefined) return known;
    const name = this.#answers.hash(secret);
    const underWay = this.#checking.get(name);
    if (underWay !== undefined) return underWay;
    if (this.#checking.size >= MAX_CHECKS) {
      const message = `${MAX_CHECKS} Claude credentials are being checked already; try again in a second`;
      throw new ServiceError('too_many', message, { data: { retryAfterMs: 1_000 } });
    }
    const checking = this.#ask(credential).finally(() => this.#checking.delete(name));
    this.#checking.set(name, checking);
    return checking;
  }

  async #ask(credential: PresentedCredential): Promise<'taken' | 'refused'> {
    const { answer, detail } = await this.#options.attempt(credential);
    if (answer === 'unknown') {
      const message = `The Claude credential could not be checked, because the model API does not answer (${detail}). Try again later.`;
      throw new ServiceError('model_api_unreachable', message, { data: { retryAfterMs: 5_000 } });
    }
    const taken = answer === 'accepted' ? 'taken' : 'refused';
    this.#answers.remember(credential.reveal(), taken);
    return taken;
  }
}
