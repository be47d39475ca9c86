import { RUN_MARKER, sweepMarked } from '../isolation/marker-sweep.ts';
import type { Outcome } from '../protocol/execution.ts';
import type { ExecutionRecord } from '../storage/storage.ts';
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
const NEVER_STARTED: Outcome = {
  ...LOST,
  kind: 'cancelled',
  reason: 'cancelled_by_caller',
  message: 'Its caller left before it started.',
};

/**
 * Takes over what dead services left on the data folder: ends their processes, and ends their executions as `lost`
 * with all output so far. Executions that never started are left to `adopt`, or cancelled when they were bound to
 * their caller's life. Other living services' executions are not touched.
 * @returns how many were ended
 */
export async function recover(
  context: RunContext,
  adopt: ((record: ExecutionRecord) => Promise<void>) | undefined,
): Promise<number> {
  const { storage, logger } = context;
  let ended = 0;
  for (const left of await storage.listUnfinished()) {
    if (await storage.instanceAlive(left.instanceId)) continue;
    try {
      if (await recoverOne(context, left, adopt)) ended += 1;
    } catch (error) {
      // One that cannot be recovered now must not keep the others from it; it is looked at again.
      logger.error({ err: error, executionId: left.execution.id }, 'an execution of a dead service was not recovered');
    }
  }
  return ended;
}

/** @returns whether it was ended */
async function recoverOne(
  context: RunContext,
  left: ExecutionRecord,
  adopt: ((record: ExecutionRecord) => Promise<void>) | undefined,
): Promise<boolean> {
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
