import { auditDraft } from '../audit/audit-draft.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { StoredEvent } from '../protocol/events.ts';
import type { Execution } from '../protocol/execution.ts';
import type { ExecutionRequest } from '../protocol/execution-request.ts';
import type { ExecutionRecord } from '../storage/storage.ts';
import { type Caller, newExecution, requestHash } from './new-execution.ts';
import { quotasOf } from './quotas.ts';
import type { RunContext } from './run-context.ts';
import type { SpareNames } from './warm-place.ts';

/**
 * Stores a new execution together with its first event, or finds the one that the same idempotency key was used for.
 * @throws ServiceError `idempotency_conflict` when that one was asked for something else; `too_many` and `quota_exceeded`
 * where a limit of the caller stands in the way; those of `newExecution`
 */
export async function storeExecution(
  { storage, audit, settings, access }: RunContext,
  { request, caller, spare }: { request: ExecutionRequest; caller: Caller; spare: SpareNames | undefined },
): Promise<{ created: boolean; record: ExecutionRecord }> {
  const { record, session } = await newExecution(request, caller, { storage, settings, access, spare });
  const entry = auditDraft(caller, { action: 'execution.start', subject: record.execution.id });
  const {
    created,
    audited,
    record: stored,
  } = await storage.createExecution(record, queuedEvent(record), {
    session,
    quotas: quotasOf(caller, settings.limits),
    audit: entry,
  });
  if (created && audited !== true) await audit.add(entry);
  if (created) return { created, record };
  refuseOther(stored, record.requestHash);
  return { created, record: stored };
}

/**
 * The execution that the request's idempotency key was used for before.
 * @throws ServiceError `idempotency_conflict` when that one was asked for something else
 */
export async function findRepeated(
  { storage }: RunContext,
  request: ExecutionRequest,
  { tenant }: Caller,
): Promise<Execution | undefined> {
  const { idempotencyKey } = request;
  const stored = idempotencyKey === undefined ? undefined : await storage.findByKey(tenant, idempotencyKey);
  if (stored !== undefined) refuseOther(stored, requestHash(request));
  return stored?.execution;
}

function queuedEvent({ execution, request }: ExecutionRecord): StoredEvent {
  const { id, createdAt, model, workspace, sessionId } = execution;
  const data = { prompt: request.prompt, model, workspace, sessionId };
  const event = { executionId: id, seq: 1, time: createdAt, type: 'execution.queued', data };
  return { seq: 1, type: 'execution.queued', bytes: JSON.stringify(event) };
}

function refuseOther(stored: ExecutionRecord, askedHash: string): void {
  if (stored.requestHash === askedHash) return;
  const message = `The idempotency key was used before, for another request (execution ${stored.execution.id})`;
  throw new ServiceError('idempotency_conflict', message);
}
