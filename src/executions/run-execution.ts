import { setTimeout as delay } from 'node:timers/promises';
import { ServiceError } from '../protocol/errors.ts';
import type { Outcome, Reason } from '../protocol/execution.ts';
import { chooseIdentity, refuseBypassAsRoot } from './identity.ts';
import type { LiveExecution } from './live-execution.ts';
import { refuseProjectSettings } from './new-execution.ts';
import { endForgotten } from './recovery.ts';
import { repositoryOf } from './repository.ts';
import { runAttempt } from './run-attempt.ts';
import { refuseOuterWorkspace } from './run-box.ts';
import type { RunContext } from './run-context.ts';
import {
  type AttemptPlace,
  emptyForRetry,
  isForeignWorkspace,
  prepareRunDirectories,
  removeRunFolder,
  sessionFolder,
} from './run-directories.ts';
import { egressListOf, shownEgress } from './run-egress.ts';

const DISK_FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EROFS', 'EDQUOT']);
const TRANSIENT: ReadonlySet<Reason> = new Set(['overloaded', 'rate_limited', 'model_error', 'worker_lost']);
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;
/** How long the end of a run is offered to a storage that does not take it. */
const STORE_END_LIMIT_MS = 10_000;
const STORE_INTERVAL_MS = 250;
/** How long a start waits for a storage that is away. */
const STORE_START_LIMIT_MS = 60_000;
/** Characters of partial text in the record on a full disk, so that it fits into the space held back for it. */
const KEPT_TEXT_ON_FULL_DISK = 64 * 1024;

/** Runs an execution to its end: attempts, and one `execution.finished` after the last process is verified dead. */
export async function runExecution(context: RunContext, live: LiveExecution): Promise<void> {
  const { dataDirectory } = context.settings;
  try {
    live.update({ state: 'running', startedAt: new Date().toISOString(), queuePosition: null });
    await patiently(() => storeRunning(context, live));
    const outcome = await attempts(context, live);
    await dropSpare(context, live);
    await removeRunFolder(dataDirectory, live.record.runId, context.logger);
    await finish(context, live, outcome);
  } catch (error) {
    await endBroken(context, live, error);
  } finally {
    live.finished();
  }
}

/** Stored before anything starts: after a crash, what is queued may run, and what is running must not run again. */
function storeRunning({ storage }: RunContext, { execution, record }: LiveExecution): Promise<void> {
  return storage.updateExecution(execution.id, record.fence, execution);
}

/**
 * A store that is away for a moment is no reason to fail what has not started: it is asked again, and refuses this
 * writer when another service has taken the execution over meanwhile.
 */
async function patiently<T>(act: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + STORE_START_LIMIT_MS;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      const away = error instanceof ServiceError && error.code === 'storage_unavailable';
      if (!away || performance.now() > deadline) throw error;
    }
    await delay(STORE_INTERVAL_MS);
  }
}

/** Ends the process that waited for an execution, where it has not been used. */
export async function dropSpare({ warm }: RunContext, live: LiveExecution): Promise<void> {
  const spare = live.takeSpare();
  if (spare !== undefined) await warm.abandon(spare);
}

/**
 * Ends an execution that the service itself failed, so that nobody waits for it in vain. Where that cannot be stored, or
 * another service has taken it over, its readers here are let go.
 */
async function endBroken(context: RunContext, live: LiveExecution, error: unknown): Promise<void> {
  context.logger.error({ err: error, executionId: live.execution.id }, 'the service failed an execution');
  await dropSpare(context, live);
  const code = error instanceof ServiceError ? error.code : undefined;
  if (code !== 'stale_writer' && live.execution.state !== 'finished') {
    const reason = code === 'storage_unavailable' || isDiskFull(error) ? 'storage_full' : 'spawn_failed';
    const message = `The service failed while it ran this: ${error instanceof Error ? error.message : String(error)}`;
    const outcome: Outcome = { kind: 'failed', reason, message, exitCode: null, signal: null };
    const stored = await finish(context, live, outcome).then(
      () => true,
      () => false,
    );
    if (stored) return;
  }
  if (code === 'stale_writer') {
    await endForgotten(context, live.record).catch((thrown: unknown) =>
      context.logger.error(
        { err: thrown, executionId: live.execution.id },
        'an execution that the store lost was not ended',
      ),
    );
  }
  live.givenUp.abort();
  await live.writer.close().catch(() => {});
}

async function attempts(context: RunContext, live: LiveExecution): Promise<Outcome> {
  const place = await preparePlace(context, live);
  if ('kind' in place) return place;
  for (;;) {
    const outcome = await runAttempt(context, live, place);
    const { attempt } = live.execution;
    const max = live.record.request.retry?.max ?? 0;
    if (attempt > max || outcome.reason === null || !TRANSIENT.has(outcome.reason) || live.stop !== undefined)
      return outcome;
    const delayMs = Math.min(FIRST_RETRY_MS * 2 ** (attempt - 1), MAX_RETRY_MS);
    live.update({ attempt: attempt + 1, cli: null, result: null });
    live.writer.append('execution.retrying', { attempt: attempt + 1, reason: outcome.reason, delayMs }, live.execution);
    live.output.voidAll();
    const waiting = new AbortController();
    live.onStop(() => waiting.abort());
    await delay(delayMs, undefined, { signal: waiting.signal }).catch(() => {});
    await emptyForRetry(live.record, place.directories);
  }
}

/** Makes the run's folders. What the caller or the machine has wrong is an outcome. */
async function preparePlace(context: RunContext, live: LiveExecution): Promise<AttemptPlace | Outcome> {
  const { record } = live;
  const { isolation, settings } = context;
  const { dataDirectory, serviceUid, runUid } = settings;
  // Where the node that accepted it runs nothing, it did not know the level of the one that does.
  const egress = shownEgress(egressListOf(record.request, settings), isolation.level);
  live.update({ isolation: isolation.level, egress });
  try {
    const sessionId = record.execution.sessionId ?? record.execution.id;
    const session = await patiently(() => context.storage.getSession(record.tenant, sessionId));
    const binary = context.binary.path;
    const chosen = await chooseIdentity(record, { serviceUid, runUid, dataDirectory, binary });
    if (isolation.level !== 'L3') refuseBypassAsRoot(record, chosen);
    if (isolation.level !== 'L1') refuseOuterWorkspace(record.directory, dataDirectory);
    refuseProjectSettings(record.request, isolation.level);
    const configDirectory = session?.configDirectory ?? sessionFolder(dataDirectory, sessionId);
    const { identity } = chosen;
    const repository = isForeignWorkspace(record) ? await repositoryOf(record.directory) : undefined;
    return {
      identity,
      alsoWritable: repository === undefined ? [] : [repository],
      directories: prepareRunDirectories(record, { dataDirectory, configDirectory, identity }),
    };
  } catch (error) {
    const known = error instanceof ServiceError || (error instanceof Error && 'code' in error);
    if (!known) throw error;
    return {
      kind: 'failed',
      reason: isDiskFull(error) ? 'storage_full' : 'spawn_failed',
      message: `The run could not be prepared: ${error.message}`,
      exitCode: null,
      signal: null,
    };
  }
}

function isDiskFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && DISK_FULL.has(error.code);
}

/** Stores the end. With a storage that stays broken the record is left for the next start to end as `lost`. */
export async function finish({ logger }: RunContext, live: LiveExecution, ended: Outcome): Promise<void> {
  const outcome = ended.reason === 'storage_full' ? await makeRoom(live, ended) : ended;
  live.update({
    state: 'finished',
    outcome,
    partialText:
      ended.reason === 'storage_full' ? live.output.toString().slice(-KEPT_TEXT_ON_FULL_DISK) : live.output.toString(),
    lastSeq: live.writer.lastSeq + 1,
    finishedAt: new Date().toISOString(),
    queuePosition: null,
  });
  live.writer.append('execution.finished', { outcome, receiptId: null }, live.execution);
  const deadline = performance.now() + STORE_END_LIMIT_MS;
  for (;;) {
    try {
      await live.writer.flush();
      return;
    } catch (error) {
      if (error instanceof ServiceError && error.code === 'stale_writer') throw error;
      if (performance.now() > deadline) {
        logger.error({ err: error, executionId: live.execution.id }, 'the end of the execution could not be stored');
        live.givenUp.abort();
        return;
      }
      await delay(STORE_INTERVAL_MS);
    }
  }
}

/** Events that a full disk did not take make way for the end of the run, and the outcome says how many. */
async function makeRoom({ writer }: LiveExecution, outcome: Outcome): Promise<Outcome> {
  try {
    await writer.flush();
    return outcome;
  } catch (error) {
    if (error instanceof ServiceError && error.code !== 'storage_unavailable') throw error;
    const forgotten = await writer.discardUnstored();
    return { ...outcome, message: `${outcome.message ?? ''} Its last ${forgotten} events could not be kept.` };
  }
}
