import type { Logger } from 'pino';
import type { Callers } from '../auth/callers.ts';
import type { KeyRing } from '../auth/key-ring.ts';
import type { Executions } from '../executions/executions.ts';
import type { AuthStatus } from '../protocol/credential-status.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { HealthDetail } from '../protocol/health.ts';
import type { Workspaces } from '../workspaces/workspaces.ts';

/** What every door of the service is given. */
export interface Door {
  executions: Executions;
  workspaces: Workspaces;
  callers: Pick<Callers, 'verify' | 'issueToken' | 'revokeToken'>;
  keyRing: KeyRing;
  /** The credentials that pay. */
  paying: {
    status(options: { test: boolean }): Promise<AuthStatus>;
    resetMaxAccount(): Promise<void>;
  };
  logger: Logger;
  health(): Promise<HealthDetail>;
  version: string;
  /** What describes the doors, as JSON. */
  documents: { openApi: object; openRpc: object };
  /** Pages of these origins may call, beside those of the service itself; as `https://example.org`, or `*`. */
  allowedOrigins: readonly string[];
  /** Whether a caller needs no key; then only this machine may call, under its own name. */
  open: boolean;
  /** Aborts when the service takes no more work and runs go on for up to `drainMs`; what follows runs goes on too. */
  draining: AbortSignal;
  drainMs: number;
  /** Aborts when everything that is still open is told where to go on, and closed. */
  closing: AbortSignal;
}

/** Whether a page of `origin` may call. A client that is no browser sends none. */
export function originAllowed(
  { origin, host }: { origin: string | undefined; host: string | undefined },
  allowed: readonly string[],
): boolean {
  if (origin === undefined) return true;
  if (allowed.includes('*') || allowed.includes(origin)) return true;
  return host !== undefined && (origin === `http://${host}` || origin === `https://${host}`);
}

/**
 * Where no key is asked for, a page of another site could call under a name that it has made lead to this machine: only
 * the names of the machine itself are taken.
 * @throws ServiceError `origin_refused`
 */
export function refuseForeignHost(host: string): void {
  const name = host.replace(/:\d+$/, '');
  if (name === 'localhost' || name === '[::1]' || /^127(\.\d{1,3}){3}$/.test(name)) return;
  const message = 'Keys are off (CC_AUTH=off), so only localhost, 127.0.0.1 and [::1] are taken as Host';
  throw new ServiceError('origin_refused', message);
}
