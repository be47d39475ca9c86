import type { StoredEvent } from '../../src/protocol/events.ts';
import type { Execution, Outcome } from '../../src/protocol/execution.ts';
import { parseExecutionRequest } from '../../src/protocol/execution-request.ts';
import { newId } from '../../src/protocol/ids.ts';
import type { Append, ExecutionRecord, RetentionLimits, SessionRecord } from '../../src/storage/storage.ts';

export const SUCCEEDED: Outcome = { kind: 'succeeded', reason: null, message: null, exitCode: 0, signal: null };

export function executionOf(changes: Partial<Execution> = {}): Execution {
  return {
    id: newId(),
    state: 'queued',
    outcome: null,
    result: null,
    partialText: '',
    sessionId: null,
    workspace: 'w',
    model: 'sonnet',
    cli: null,
    attempt: 1,
    timeLimit: { ms: 60_000, source: 'default' },
    lastSeq: 1,
    receiptId: null,
    cancelRequestedAt: null,
    denials: [],
    isolation: 'L1',
    egress: 'open',
    queuePosition: null,
    createdAt: '2030-01-01T00:00:00.000Z',
    startedAt: null,
    finishedAt: null,
    metadata: {},
    ...changes,
  };
}

export function recordOf(
  changes: Partial<Omit<ExecutionRecord, 'execution' | 'request'>> & {
    execution?: Partial<Execution>;
    idempotencyKey?: string;
  } = {},
): ExecutionRecord {
  const { execution, idempotencyKey, ...rest } = changes;
  return {
    tenant: 'local',
    keyId: null,
    execution: executionOf(execution),
    request: parseExecutionRequest({ prompt: 'Say hello.', ...(idempotencyKey && { idempotencyKey }) }),
    directory: '/workspaces/w',
    fresh: false,
    runId: 'run-a',
    instanceId: 'instance-a',
    fence: 1,
    requestHash: 'hash-a',
    ...rest,
  };
}

export function eventOf(seq: number, text = `event ${seq}`): StoredEvent {
  const type = seq === 1 ? 'execution.queued' : 'claude.stderr';
  return { seq, type, bytes: JSON.stringify({ seq, type, data: { text } }) };
}

/** The events `from` to `to`, both included. */
export function eventsOf(from: number, to: number): StoredEvent[] {
  return Array.from({ length: to - from + 1 }, (_, index) => eventOf(from + index));
}

export function finishedOf(execution: Execution, finishedAt = '2030-01-02T00:00:00.000Z'): Execution {
  return { ...execution, state: 'finished', outcome: SUCCEEDED, finishedAt };
}

/** The append that ends `record` with event `seq`. */
export function finishOf(record: ExecutionRecord, seq: number, finishedAt?: string): Append {
  const type = 'execution.finished';
  return {
    executionId: record.execution.id,
    fence: record.fence,
    events: [{ seq, type, bytes: JSON.stringify({ seq, type }) }],
    execution: finishedOf(record.execution, finishedAt),
  };
}

export function sessionOf(id: string, changes: Partial<SessionRecord> = {}): SessionRecord {
  return {
    id,
    tenant: 'local',
    workspace: 'w',
    directory: '/workspaces/w',
    fresh: false,
    configDirectory: '/sessions/s',
    createdAt: '2030-01-01T00:00:00.000Z',
    lastUsedAt: '2030-01-01T00:00:00.000Z',
    ...changes,
  };
}

/** Limits under which nothing is removed. */
export const KEEP_ALL: RetentionLimits = {
  logsFinishedBefore: '2000-01-01T00:00:00.000Z',
  recordsFinishedBefore: '2000-01-01T00:00:00.000Z',
  maxLogBytes: Number.MAX_SAFE_INTEGER,
};
