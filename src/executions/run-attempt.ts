import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RunDirectories } from '../claude/command.ts';
import { claudeCommand } from '../claude/command.ts';
import { decideOutcome, type Stop, toExecutionResult } from '../claude/outcome.ts';
import { type ClaudeProcess, LineTooLongError, startClaude } from '../claude/process.ts';
import { outputContract } from '../claude/structured-output.ts';
import type { LaunchFailure } from '../isolation/launch-failure.ts';
import type { Identity } from '../isolation/launcher-arguments.ts';
import type { ModelCall } from '../model-gateway/model-call.ts';
import type { Outcome } from '../protocol/execution.ts';
import { Conversation } from './conversation.ts';
import type { LiveExecution } from './live-execution.ts';
import type { RunContext } from './run-context.ts';
import { hasTranscript, writeOptionFiles } from './run-directories.ts';
import { awaitExit, stopProcess } from './stop-process.ts';

export interface AttemptPlace {
  directories: RunDirectories;
  identity: Identity | undefined;
}

type Ready = { binary: string; version: string; access: Extract<RunContext['access'], { open: true }> };

/** Processes and threads a run may have where it has a uid of its own. */
const MAX_PROCESSES = 512;

/** One Claude process for one prompt, from its start to its verified death. Never throws for what Claude does. */
export async function runAttempt(context: RunContext, live: LiveExecution, place: AttemptPlace): Promise<Outcome> {
  const { binary, access } = context;
  if (live.stop !== undefined) return stoppedBefore(live.stop);
  if (!binary.usable) return notStarted('cli_missing', binary.problem);
  if (!access.open) return notStarted('auth_failed', access.problem);
  const ready: Ready = { binary: binary.path, version: binary.version, access };
  const { gateway } = access;
  const token = gateway.issueToken();
  const calls = watchCalls(context, live);
  const { maxBudgetUsd } = live.record.request;
  gateway.attach(token, {
    executionId: live.execution.id,
    spentUsd: live.spentUsd,
    onCall: calls.onCall,
    ...(maxBudgetUsd === undefined ? {} : { maxBudgetUsd }),
  });
  try {
    const claude = await start(context, { live, place, token, ready });
    return await supervise(context, { live, claude, calls, version: ready.version });
  } finally {
    live.spentUsd = gateway.spentUsd(token);
    gateway.detach(token);
    await nextTurn();
  }
}

/** Starts the process and sends the prompt; a failed start shows in `exited`. */
async function start(
  context: RunContext,
  { live, place, token, ready }: { live: LiveExecution; place: AttemptPlace; token: string; ready: Ready },
): Promise<ClaudeProcess> {
  const { request, execution } = live.record;
  const { directories, identity } = place;
  await writeOptionFiles(request, directories, identity);
  const sessionId = execution.sessionId ?? execution.id;
  const command = claudeCommand({
    binary: ready.binary,
    request,
    model: execution.model,
    session: { id: sessionId, resume: await hasTranscript(directories.config, sessionId) },
    directories,
    runId: live.record.runId,
    gateway: { baseUrl: ready.access.gateway.baseUrl, token, credentialKind: ready.access.credentialKind },
    inherited: context.settings.inherited,
  });
  return startClaude({
    command,
    ...(identity === undefined ? {} : { identity, limits: { processes: MAX_PROCESSES } }),
    maxLineBytes: context.settings.maxLineBytes,
    spare: context.launchers,
    onStderr: (text) => {
      if (canStore(context, live)) live.writer.append('claude.stderr', { text });
    },
  });
}

/** Follows a started process until its whole family is gone, and decides how it ended. */
async function supervise(
  context: RunContext,
  { live, claude, calls, version }: { live: LiveExecution; claude: ClaudeProcess; calls: CallWatch; version: string },
): Promise<Outcome> {
  const { request } = live.record;
  const contract = request.outputSchema === undefined ? undefined : outputContract(request.outputSchema);
  const conversation = new Conversation(live, claude, contract);
  conversation.start(request);
  claude.cliPid.then(
    () => markStarted(live, version),
    () => {},
  );
  live.attach(claude, (text) => conversation.addTurn(text));
  const force = live.force.signal;
  live.onStop(() => void stopProcess(claude, { turnEnded: conversation.turnEnded, force }));
  let endedByService = false;
  void conversation.turnEnded.then(async () => {
    if (live.stop !== undefined) return;
    live.settle();
    await awaitExit(claude, { force, onTerminate: () => (endedByService = true) });
  });
  try {
    await readLines(context, { live, claude, conversation });
    const report = await claude.exited;
    if (report.failure !== null) return launchFailed(report.failure, live);
    markStarted(live, version);
    const outcome = decideOutcome({
      observed: conversation.observed,
      stop: live.stop,
      exit: { exitCode: report.exitCode, signal: report.signal },
      endedByService,
      gatewayRefusal: calls.refusal(),
      stderrTail: claude.stderrTail(),
      outputProblem: conversation.outputProblem,
    });
    recordResult(live, conversation, outcome);
    return withDoubt(outcome, context.binary);
  } finally {
    live.detach();
    claude.kill();
    await claude.exited;
  }
}

function markStarted(live: LiveExecution, version: string): void {
  if (live.execution.cli !== null) return;
  live.update({ cli: { version } });
  const { attempt, model, isolation } = live.execution;
  live.writer.append('execution.started', { attempt, model, cli: { version }, isolation }, live.execution);
}

/** Reads stdout to its end with back-pressure. Past a cap or with no storage, lines are still read but not kept. */
async function readLines(
  context: RunContext,
  { live, claude, conversation }: { live: LiveExecution; claude: ClaudeProcess; conversation: Conversation },
): Promise<void> {
  const { maxLineBytes, maxLogBytes } = context.settings;
  try {
    for await (const lines of claude.batches) {
      live.touch();
      for (const line of lines) conversation.line(line, canStore(context, live));
      if (live.writer.appendedBytes > maxLogBytes) {
        live.requestStop(tooLarge(`The run printed more than ${maxLogBytes} bytes of events.`));
      }
      await drained(live);
    }
  } catch (error) {
    if (!(error instanceof LineTooLongError)) throw error;
    live.requestStop(
      tooLarge(`Claude printed a line of more than ${maxLineBytes} bytes. Everything before it is kept.`),
    );
  }
}

function tooLarge(text: string): Stop {
  return { kind: 'failed', reason: 'output_too_large', text };
}

function canStore({ settings }: RunContext, { stop, writer }: LiveExecution): boolean {
  return stop?.reason !== 'storage_full' && writer.appendedBytes <= settings.maxLogBytes;
}

/** Waits while too much is queued for the storage; a storage that fails is reported through `onFailure`. */
async function drained(live: LiveExecution): Promise<void> {
  if (live.stop?.reason === 'storage_full') return;
  await Promise.race([live.writer.drained().catch(() => {}), live.storageFailed]);
}

interface CallWatch {
  onCall(call: ModelCall): void;
  refusal(): 'budget' | 'credential' | null;
}

/** Writes the run's model calls into its log as they end. A refused credential ends the run at once: waiting would not mend it. */
function watchCalls(context: RunContext, live: LiveExecution): CallWatch {
  let last: 'budget' | 'credential' | null = null;
  return {
    refusal: () => last,
    onCall: (call) => {
      last = call.refusal;
      const { executionId: _, ...witnessed } = call;
      // The calls that the end of an attempt breaks off are told just before its execution finishes.
      if (live.execution.state !== 'finished' && canStore(context, live))
        live.writer.append('model.called', { ...witnessed });
      if (call.refusal !== 'credential') return;
      const status = call.status === null ? '' : ` (HTTP ${call.status})`;
      live.requestStop({
        kind: 'failed',
        reason: 'auth_failed',
        text: `The model API refused the credential${status}. Check it with \`cc-executor doctor\`, and renew it.`,
      });
    },
  };
}

/** A crash of a program that is not the tested one may have its cause there. */
function withDoubt(outcome: Outcome, binary: RunContext['binary']): Outcome {
  if (outcome.reason !== 'cli_crashed' || !binary.usable || binary.warning === undefined) return outcome;
  return { ...outcome, message: `${outcome.message ?? ''} ${binary.warning}.` };
}

function recordResult(live: LiveExecution, { observed, structured }: Conversation, outcome: Outcome): void {
  const { result } = observed;
  if (result === undefined) return;
  const executed = toExecutionResult(result, observed, outcome.kind === 'succeeded' ? structured : null);
  live.update({
    result: result.is_error ? { ...executed, text: '' } : executed,
    denials: observed.denials,
  });
}

function launchFailed({ reason, message }: LaunchFailure, live: LiveExecution): Outcome {
  if (live.stop !== undefined) return stoppedBefore(live.stop);
  return notStarted(
    reason === 'cli_missing' ? 'cli_missing' : reason === 'launcher_died' ? 'cli_crashed' : 'spawn_failed',
    message,
  );
}

function notStarted(reason: 'cli_missing' | 'auth_failed' | 'spawn_failed' | 'cli_crashed', message: string): Outcome {
  return { kind: 'failed', reason, message, exitCode: null, signal: null };
}

function stoppedBefore(stop: Stop): Outcome {
  return { kind: stop.kind, reason: stop.reason, message: stop.text, exitCode: null, signal: null };
}
