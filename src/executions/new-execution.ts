import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { ServiceError } from '../protocol/errors.ts';
import type { Execution } from '../protocol/execution.ts';
import type { ExecutionRequest } from '../protocol/execution-request.ts';
import { newId } from '../protocol/ids.ts';
import type { ExecutionRecord, SessionRecord, Storage, Tenant } from '../storage/storage.ts';
import { sessionFolder, workspaceFolder } from './run-directories.ts';
import type { SpareNames } from './warm-place.ts';

/** Who asks. `directory` is set for a caller on this machine who works in a directory of their own. */
export interface Caller {
  tenant: Tenant;
  directory?: string;
}

export interface NewExecutionSettings {
  instanceId: string;
  dataDirectory: string;
  defaultModel: string;
  timeLimitMs: number;
  lentWorkspaces: Readonly<Record<string, string>>;
  /** What encloses runs here; undefined where only other nodes run them. */
  isolationLevel: Execution['isolation'] | undefined;
}

/**
 * Makes the record of a new execution: resolves workspace, session and defaults.
 * @param spare the names of the process that waits for it already, whose folders it takes over
 * @throws ServiceError `not_found` (session), `invalid_request` (workspace)
 */
export async function newExecution(
  request: ExecutionRequest,
  caller: Caller,
  { storage, settings, spare }: { storage: Storage; settings: NewExecutionSettings; spare?: SpareNames | undefined },
): Promise<{ record: ExecutionRecord; session: SessionRecord }> {
  refuseProjectSettings(request, settings.isolationLevel);
  const id = newId();
  const runId = spare?.runId ?? id;
  const now = new Date().toISOString();
  const session =
    request.sessionId === undefined ? undefined : await storage.getSession(caller.tenant, request.sessionId);
  if (request.sessionId !== undefined && session === undefined) {
    throw new ServiceError('not_found', `There is no session ${request.sessionId}; leave sessionId out to start one`);
  }
  const place =
    session !== undefined && request.workspace === undefined && caller.directory === undefined
      ? { workspace: session.workspace, directory: session.directory, fresh: session.fresh }
      : await resolveWorkspace({ runId, request, caller }, settings);
  if ((request.retry?.max ?? 0) > 0 && place.workspace !== runId) {
    const message = 'starts again from an empty workspace, so it is only possible in a fresh one of the run’s own';
    throw new ServiceError('invalid_request', `retry ${message}`, { data: { errors: [{ path: 'retry', message }] } });
  }
  const sessionId = session?.id ?? spare?.sessionId ?? newId();
  const sessionRecord: SessionRecord = {
    id: sessionId,
    tenant: caller.tenant,
    ...place,
    configDirectory: session?.configDirectory ?? sessionFolder(settings.dataDirectory, sessionId),
    createdAt: session?.createdAt ?? now,
    lastUsedAt: now,
  };
  const execution: Execution = {
    id,
    state: 'queued',
    outcome: null,
    result: null,
    partialText: '',
    sessionId,
    workspace: place.workspace,
    model: request.model ?? settings.defaultModel,
    cli: null,
    attempt: 1,
    timeLimit: timeLimitOf(request, settings),
    lastSeq: 1,
    receiptId: null,
    cancelRequestedAt: null,
    denials: [],
    isolation: settings.isolationLevel ?? 'L1',
    queuePosition: null,
    createdAt: now,
    startedAt: null,
    finishedAt: null,
    metadata: request.metadata ?? {},
  };
  const record: ExecutionRecord = {
    tenant: caller.tenant,
    execution,
    request,
    directory: place.directory,
    fresh: place.fresh,
    runId,
    instanceId: settings.instanceId,
    fence: 1,
    requestHash: requestHash(request),
  };
  return { record, session: sessionRecord };
}

/** @throws ServiceError `isolation_unavailable`: what a workspace sets may run programs and lead the model elsewhere */
export function refuseProjectSettings(
  { projectSettings }: ExecutionRequest,
  level: Execution['isolation'] | undefined,
): void {
  if (!projectSettings || level === 'L3' || level === undefined) return;
  const message =
    `projectSettings lets the files of a workspace run programs, which is only done at isolation level L3; ` +
    `this service has ${level}. Leave it out, or have the operator set up L3 (docs/security.md)`;
  throw new ServiceError('isolation_unavailable', message, {
    data: { errors: [{ path: 'projectSettings', message }] },
  });
}

function timeLimitOf({ timeLimitMs }: ExecutionRequest, settings: NewExecutionSettings): Execution['timeLimit'] {
  return timeLimitMs === undefined
    ? { ms: settings.timeLimitMs, source: 'default' }
    : { ms: timeLimitMs, source: 'request' };
}

/** Where a run works. */
interface Place {
  workspace: string;
  directory: string;
  fresh: boolean;
}

async function resolveWorkspace(
  { runId, request, caller }: { runId: string; request: ExecutionRequest; caller: Caller },
  settings: NewExecutionSettings,
): Promise<Place> {
  const { workspace } = request;
  if (workspace === undefined && caller.directory !== undefined) {
    await requireDirectory(caller.directory);
    return { workspace: `local:${caller.directory}`, directory: caller.directory, fresh: false };
  }
  if (workspace?.startsWith('lent:')) {
    const name = workspace.slice('lent:'.length);
    const directory = Object.hasOwn(settings.lentWorkspaces, name) ? settings.lentWorkspaces[name] : undefined;
    if (directory === undefined) throw badWorkspace(`there is no lent workspace ${name}`);
    await requireDirectory(directory);
    return { workspace, directory, fresh: false };
  }
  const name = workspace ?? runId;
  const directory = workspaceFolder(settings.dataDirectory, caller.tenant, name);
  return { workspace: name, directory, fresh: workspace === undefined };
}

async function requireDirectory(path: string): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    throw badWorkspace(`${path} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`);
  });
  if (!found.isDirectory()) throw badWorkspace(`${path} is a file; give a directory`);
}

function badWorkspace(message: string): ServiceError {
  return new ServiceError('invalid_request', `workspace: ${message}`, {
    data: { errors: [{ path: 'workspace', message }] },
  });
}

/** SHA-256 over the parsed request in a canonical key order; the idempotency key itself does not count. */
export function requestHash({ idempotencyKey: _, ...request }: ExecutionRequest): string {
  return createHash('sha256').update(canonicalJson(request)).digest('hex');
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([left], [right]) => (left < right ? -1 : 1)));
  });
}
