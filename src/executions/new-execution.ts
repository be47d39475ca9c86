import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { EgressList } from '../protocol/egress-rule.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { Execution } from '../protocol/execution.ts';
import type { ExecutionRequest } from '../protocol/execution-request.ts';
import { newId } from '../protocol/ids.ts';
import type { UsageLimits } from '../protocol/key-schemas.ts';
import { type LentWorkspaces, lentDirectory } from '../protocol/lent-workspaces.ts';
import type { ExecutionRecord, SessionRecord, Storage, Tenant } from '../storage/storage.ts';
import { NO_ENVELOPE_KEY } from './credential-envelope.ts';
import type { GatewayAccess } from './run-context.ts';
import { sessionFolder, workspaceFolder } from './run-directories.ts';
import { egressListOf, shownEgress } from './run-egress.ts';
import type { SpareNames } from './warm-place.ts';

/** Who asks. */
export interface Caller {
  tenant: Tenant;
  /** For a caller on this machine who works in a directory of their own. */
  directory?: string;
  /**
   * The key that was presented, to whose spend the run counts, and what it may use up where that is not what is usual;
   * no key, no limits.
   */
  keyId?: string | undefined;
  limits?: UsageLimits | null | undefined;
  /** Where from, and by which request, as the audit log names it. */
  address?: string | undefined;
  requestId?: string | undefined;
  /** The caller's own Claude credential, which then pays in place of the operator's. */
  credential?: CallerCredential;
}

/** A Claude credential that a caller has presented. Nothing but `reveal` gives it away. */
export interface CallerCredential {
  readonly kind: 'api_key' | 'max';
  reveal(): string;
}

export interface NewExecutionSettings {
  instanceId: string;
  dataDirectory: string;
  defaultModel: string;
  egress: EgressList;
  timeLimitMs: number;
  lentWorkspaces: LentWorkspaces;
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
  parts: {
    storage: Storage;
    settings: NewExecutionSettings;
    access: Pick<GatewayAccess, 'envelopes'>;
    spare?: SpareNames | undefined;
  },
): Promise<{ record: ExecutionRecord; session: SessionRecord }> {
  const { storage, settings, access, spare } = parts;
  refuseProjectSettings(request, settings.isolationLevel);
  const id = newId();
  const runId = spare?.runId ?? id;
  const now = new Date().toISOString();
  const session = await sessionOf(request, caller, storage);
  const isolation = settings.isolationLevel ?? 'L1';
  const place =
    session !== undefined && request.workspace === undefined && caller.directory === undefined
      ? placeOfSession(session, settings)
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
    isolation,
    egress: shownEgress(egressListOf(request, settings), isolation),
    queuePosition: null,
    createdAt: now,
    startedAt: null,
    finishedAt: null,
    metadata: request.metadata ?? {},
  };
  const record: ExecutionRecord = {
    tenant: caller.tenant,
    keyId: caller.keyId ?? null,
    execution,
    request,
    directory: place.directory,
    fresh: place.fresh,
    runId,
    instanceId: settings.instanceId,
    fence: 1,
    requestHash: requestHash(request),
    ...payment(id, caller, access),
  };
  return { record, session: sessionRecord };
}

/** The session that a request continues. @throws ServiceError `not_found` */
async function sessionOf(
  { sessionId }: ExecutionRequest,
  { tenant }: Caller,
  storage: Storage,
): Promise<SessionRecord | undefined> {
  if (sessionId === undefined) return undefined;
  const session = await storage.getSession(tenant, sessionId);
  if (session !== undefined) return session;
  throw new ServiceError('not_found', `There is no session ${sessionId}; leave sessionId out to start one`);
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
  if (timeLimitMs !== undefined) return { ms: timeLimitMs, source: 'request' };
  return { ms: settings.timeLimitMs, source: 'default' };
}

/**
 * The caller's own credential as it waits with the execution.
 * @throws ServiceError `credential_unusable` where there is no key to seal it with
 */
function payment(
  executionId: string,
  { tenant, credential }: Caller,
  { envelopes }: Pick<GatewayAccess, 'envelopes'>,
): Pick<ExecutionRecord, 'envelope'> {
  if (credential === undefined) return {};
  if (envelopes === undefined) throw new ServiceError('credential_unusable', NO_ENVELOPE_KEY);
  return { envelope: envelopes.seal(credential.reveal(), { executionId, tenant }) };
}

/** Where a run works. */
interface Place {
  workspace: string;
  directory: string;
  fresh: boolean;
}

/** A directory that is lent no more, or to others, is closed to the sessions that worked in it too. */
function placeOfSession({ tenant, workspace, directory, fresh }: SessionRecord, settings: NewExecutionSettings): Place {
  const name = workspace.startsWith('lent:') ? workspace.slice('lent:'.length) : undefined;
  if (name !== undefined && lentDirectory(settings.lentWorkspaces, tenant, name) !== directory) {
    throw badWorkspace(`the session works in ${workspace}, which is not lent any more; name another one`);
  }
  return { workspace, directory, fresh };
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
    const directory = lentDirectory(settings.lentWorkspaces, caller.tenant, name);
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
