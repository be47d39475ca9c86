import type { Logger } from 'pino';
import type { AuditLog } from '../audit/audit-log.ts';
import type { Callers } from '../auth/callers.ts';
import type { KeyRing } from '../auth/key-ring.ts';
import type { WrongKeys } from '../auth/wrong-keys.ts';
import type { CallerExecutions } from '../executions/audited-executions.ts';
import type { Caller } from '../executions/new-execution.ts';
import type { AuditSlice } from '../protocol/audit.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { HealthDetail } from '../protocol/health.ts';
import type { Workspaces } from '../workspaces/workspaces.ts';

/** Reads the audit log; see `Storage.readAudit`. */
export type ReadAudit = (options: { after: number; limit: number }) => Promise<AuditSlice>;

/** What every door of the service is given. */
export interface Door {
  executions: CallerExecutions;
  audit: AuditLog;
  readAudit: ReadAudit;
  workspaces: Workspaces;
  callers: Pick<Callers, 'verify' | 'issueToken' | 'revokeToken'>;
  keyRing: KeyRing;
  wrongKeys: WrongKeys;
  /** Counts bytes that a caller sends beside requests for executions against its limits. */
  takeBytes(caller: Caller, bytes: number): Promise<void>;
  /** Whether a caller's bytes are limited at all. */
  limitsBytes(caller: Caller): boolean;
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
