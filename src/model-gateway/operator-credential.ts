import type { IncomingHttpHeaders } from 'node:http';
import type { Logger } from 'pino';
import type { CredentialStatus } from '../protocol/credential-status.ts';
import type { Credential, CredentialFound } from './credential.ts';
import { repairOf } from './credential-repair.ts';
import type { GatewayCredential } from './gateway-headers.ts';
import type { Tried } from './try-credential.ts';

/** Trying costs nothing, but is no load on the model API either. */
const TEST_EVERY_MS = 60_000;

export interface OperatorCredentialOptions {
  found: CredentialFound;
  /** Makes a call only to try it; see `tryCredential`. */
  attempt(credential: GatewayCredential): Promise<Tried>;
  /** Told when `status` has changed. */
  onChange(): void;
  logger: Pick<Logger, 'warn' | 'info'>;
}

/** The operator's credential with all that is learned about it while it is used. */
export class OperatorCredential {
  /** What runs are paid with, or why there is nothing. */
  readonly access: { credential: GatewayCredential } | { problem: string };
  readonly #options: OperatorCredentialOptions;
  readonly #found: Credential | undefined;
  #lastTest: CredentialStatus['lastTest'] = null;
  #lastRefusal: CredentialStatus['lastRefusal'] = null;
  /** Of the newest answer: an older refusal is history. */
  #newest: 'taken' | 'refused' | 'limited' = 'taken';
  #testing: Promise<void> | undefined;
  #testedAt = Number.NEGATIVE_INFINITY;

  constructor(options: OperatorCredentialOptions) {
    const { found } = options;
    this.#options = options;
    this.#found = found.ok ? found.credential : undefined;
    this.access = found.ok ? { credential: this.#witnessed(found.credential) } : { problem: found.problem.message };
  }

  status(): CredentialStatus {
    const { found } = this.#options;
    const validUntil = this.#found?.validUntil;
    return {
      kind: this.#found?.kind ?? null,
      source: found.ok ? found.credential.source : found.source,
      description: found.ok ? found.credential.describe() : 'no credential that can be used',
      validUntil: validUntil === undefined ? null : new Date(validUntil).toISOString(),
      problem: found.ok ? null : { code: found.problem.code, message: found.problem.message },
      lastTest: this.#lastTest,
      lastRefusal: this.#lastRefusal,
      state: this.#state(),
    };
  }

  /** Tries it, unless that was done within the last minute; resolves when `status` tells of the newest try. */
  async test(): Promise<void> {
    const credential = this.#found;
    if (credential === undefined) return;
    if (this.#testing === undefined && performance.now() - this.#testedAt >= TEST_EVERY_MS) {
      this.#testedAt = performance.now();
      this.#testing = this.#try(credential).finally(() => {
        this.#testing = undefined;
      });
    }
    await this.#testing;
  }

  #state(): CredentialStatus['state'] {
    if (this.#found === undefined) return 'missing';
    if (this.#newest !== 'limited') return this.#newest === 'refused' ? 'refused' : 'ok';
    const resetAt = this.#lastRefusal?.resetAt ?? null;
    return resetAt !== null && Date.parse(resetAt) <= Date.now() ? 'ok' : 'limited';
  }

  async #try(credential: Credential): Promise<void> {
    const { answer, status, detail } = await this.#options.attempt(credential);
    const ok = answer === 'unknown' ? null : answer === 'accepted';
    const repair = answer === 'accepted' ? null : repairOf(credential, answer);
    this.#lastTest = { at: new Date().toISOString(), ok, status, detail, repair };
    if (answer === 'refused') this.#newest = 'refused';
    if (answer === 'accepted' && this.#newest === 'refused') this.#newest = 'taken';
    this.#options.onChange();
  }

  #witnessed(credential: Credential): GatewayCredential {
    const { refresh } = credential;
    return {
      kind: credential.kind,
      current: () => credential.current(),
      ...(refresh === undefined ? {} : { refresh: (rejected: string) => refresh.call(credential, rejected) }),
      witness: ({ status, headers }) => this.#witness(credential, status, headers),
    };
  }

  #witness(credential: Credential, status: number, headers: IncomingHttpHeaders): void {
    const before = this.#newest;
    if (status === 401 || status === 403) {
      const repair = repairOf(credential, 'refused');
      this.#refused({ kind: 'refused', status, resetAt: null, repair });
    } else if (status === 429 && headers['anthropic-ratelimit-unified-status'] === 'rejected') {
      const resetAt = resetTime(headers['anthropic-ratelimit-unified-reset']);
      this.#refused({ kind: 'usage_limit', status, resetAt, repair: repairOf(credential, 'limited') });
    } else if (status < 300) {
      this.#newest = 'taken';
      if (before !== 'taken') this.#options.logger.info({}, 'the model API takes the Claude credential again');
    }
    if (before !== this.#newest) this.#options.onChange();
  }

  #refused(refusal: Omit<NonNullable<CredentialStatus['lastRefusal']>, 'at'>): void {
    const now = refusal.kind === 'refused' ? 'refused' : 'limited';
    if (this.#newest !== now) {
      const { kind, status, resetAt } = refusal;
      this.#options.logger.warn({ kind, status, resetAt }, 'the model API refused the Claude credential');
    }
    this.#newest = now;
    this.#lastRefusal = { at: new Date().toISOString(), ...refusal };
  }
}

/** Seconds since 1970, as the header gives it to Claude Code, in RFC 3339; null when there is none or it is nonsense. */
function resetTime(header: string | string[] | undefined): string | null {
  const date = new Date(typeof header === 'string' && header !== '' ? Number(header) * 1000 : Number.NaN);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
