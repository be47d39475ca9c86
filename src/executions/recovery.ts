import { RUN_MARKER, sweepMarked } from '../isolation/marker-sweep.ts';
import type { Outcome } from '../protocol/execution.ts';
import type { ExecutionRecord, UnfinishedExecution } from '../storage/storage.ts';
import type { RunContext } from './run-context.ts';
import { removeRunFolder } from './run-directories.ts';
import { storedText } from './stored-text.ts';

const LOST: Outcome = {
  kind: 'lost',
  reason: 'worker_lost',
  message: 'The service that ran it ended before it did. All output up to then is kept; nothing was run again.',
  exitCode: null,
  signal: null,
};
const FORGOTTEN: Outcome = {
  ...LOST,
  message: 'The store lost a part of its log, so that no more could be added to it. What is left of it is kept.',
};
const NEVER_STARTED: Outcome = {
  ...LOST,
  kind: 'cancelled',
  reason: 'cancelled_by_caller',
  message: 'Its caller left before it started.',
};

export interface RecoveryHands {
  /** Takes one that has not started; undefined where such ones are left as they are. */
  adopt: ((record: ExecutionRecord) => Promise<void>) | undefined;
  /**
   * Whether an execution of this service still has somebody who writes its log; one that has none was forgotten by a
   * store that lost what it had confirmed.
   */
  isLive(unfinished: UnfinishedExecution): boolean;
  /** Told of each that was ended. */
  ended(record: ExecutionRecord): Promise<void>;
}

/**
 * Takes over what dead services left on the data folder: ends their processes, and ends their executions as `lost`
 * with all output so far. Executions that never started are left to `adopt`, or cancelled when they were bound to
 * their caller's life. Other living services' executions are not touched.
 * @returns how many were ended
 */
export async function recover(context: RunContext, hands: RecoveryHands): Promise<number> {
  const { storage, logger, settings } = context;
  let ended = 0;
  const unfinished = await storage.listUnfinished();
  const looked = new Map<string, Promise<boolean>>();
  const lives = (instanceId: string): Promise<boolean> => {
    const known = looked.get(instanceId) ?? storage.instanceAlive(instanceId);
    looked.set(instanceId, known);
    return known;
  };
  // Those that ran come first: others may wait for their end, and callers for its news.
  const ran = unfinished.filter(({ state }) => state !== 'queued');
  for (const left of [...ran, ...unfinished.filter(({ state }) => state === 'queued')]) {
    const own = left.instanceId === settings.instanceId;
    const forgotten = own && left.state !== 'queued' && !hands.isLive(left);
    if (!forgotten && (own || (await lives(left.instanceId)))) continue;
    try {
      const record = await storage.getExecution(left.tenant, left.id);
      if (record?.fence !== left.fence) continue;
      if (!(await (forgotten ? endForgotten(context, record) : recoverOne(context, record, hands.adopt)))) continue;
      ended += 1;
      await hands.ended(record);
    } catch (error) {
      // One that cannot be recovered now must not keep the others from it; it is looked at again.
      logger.error({ err: error, executionId: left.id }, 'an execution of a dead service was not recovered');
    }
  }
  return ended;
}

/** @returns whether it was ended */
async function recoverOne(context: RunContext, left: ExecutionRecord, adopt: RecoveryHands['adopt']): Promise<boolean> {
  const started = left.execution.state !== 'queued';
  const bound = left.request.cancelOnDisconnect;
  if (!started && !bound && adopt === undefined) return false;
  const record = await context.storage.takeOver(left.execution.id, left.fence, context.settings.instanceId);
  if (record === undefined) return false;
  if (!started && !bound) {
    await adopt?.(record);
    return false;
  }
  await endLost(context, record, started ? LOST : NEVER_STARTED);
  return true;
}

/**
 * Ends an execution whose writer the store refuses although nobody else has it: the store has lost what it had confirmed,
 * as after a failover. What is left of its log stays.
 * @returns false when somebody else has it
 */
export async function endForgotten(
  context: RunContext,
  { tenant, execution, fence }: ExecutionRecord,
): Promise<boolean> {
  const { storage, settings } = context;
  const stored = await storage.getExecution(tenant, execution.id);
  if (stored === undefined || stored.fence !== fence || stored.execution.state === 'finished') return false;
  const record = await storage.takeOver(execution.id, fence, settings.instanceId);
  if (record === undefined) return false;
  await endLost(context, record, FORGOTTEN);
  return true;
}

async function endLost(context: RunContext, record: ExecutionRecord, outcome: Outcome): Promise<void> {
  const { storage, eventLog, logger, settings } = context;
  const { id } = record.execution;
  const swept = await sweepMarked({ name: RUN_MARKER, value: record.runId });
  const { text, lastSeq } = await storedText(storage, id);
  const finishedAt = new Date().toISOString();
  const execution = {
    ...record.execution,
    state: 'finished' as const,
    outcome,
    partialText: text,
    lastSeq: lastSeq + 1,
    finishedAt,
    queuePosition: null,
  };
  const writer = eventLog.openWriter({ executionId: id, fence: record.fence, lastSeq });
  writer.append('execution.finished', { outcome, receiptId: null }, execution);
  await writer.flush();
  await storage.releaseClaims(id);
  await removeRunFolder(settings.dataDirectory, record.runId, logger);
  logger.info({ executionId: id, swept }, 'ended an execution that a dead service had left');
}
