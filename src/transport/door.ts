import type { Logger } from 'pino';
import type { AuditLog } from '../audit/audit-log.ts';
import type { ServiceKeys } from '../auth/service-keys.ts';
import type { WrongKeys } from '../auth/wrong-keys.ts';
import type { CallerExecutions } from '../executions/audited-executions.ts';
import type { Caller } from '../executions/new-execution.ts';
import type { AuditSlice } from '../protocol/audit.ts';
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
  keys: ServiceKeys;
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
