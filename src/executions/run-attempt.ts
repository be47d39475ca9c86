import { setImmediate as nextTurn } from 'node:timers/promises';
import { claudeCommand } from '../claude/command.ts';
import { decideOutcome, type Stop, toExecutionResult } from '../claude/outcome.ts';
import { type ClaudeProcess, startClaude } from '../claude/process.ts';
import { outputContract } from '../claude/structured-output.ts';
import type { LaunchFailure } from '../isolation/launch-failure.ts';
import type { GatewayCredential } from '../model-gateway/gateway-headers.ts';
import type { ModelGateway } from '../model-gateway/model-gateway.ts';
import type { Outcome } from '../protocol/execution.ts';
import { type CallWatch, watchCalls } from './call-watch.ts';
import { Conversation } from './conversation.ts';
import type { LiveExecution } from './live-execution.ts';
import { canStore, readLines } from './read-lines.ts';
import { openRunBox, type RunBox } from './run-box.ts';
import type { RunContext } from './run-context.ts';
import { type AttemptPlace, hasTranscript, MAX_PROCESSES, writeOptionFiles } from './run-directories.ts';
import { egressListOf, egressRun, isProxied } from './run-egress.ts';
import { payerOf } from './run-payer.ts';
import { awaitExit, stopProcess } from './stop-process.ts';
import type { Spare } from './warm-spare.ts';
import { takeSpare } from './warm-take.ts';

type Ready = { binary: string; version: string; gateway: ModelGateway; credential: GatewayCredential };

/** One Claude process for one prompt, from its start to its verified death. Never throws for what Claude does. */
export async function runAttempt(context: RunContext, live: LiveExecution, place: AttemptPlace): Promise<Outcome> {
  const { binary, access } = context;
  if (live.stop !== undefined) return stoppedBefore(live.stop);
  if (!binary.usable) return notStarted('cli_missing', binary.problem);
  const payer = payerOf(access, live.record);
  if ('problem' in payer) return notStarted('auth_failed', payer.problem);
  const ready: Ready = { binary: binary.path, version: binary.version, gateway: access.gateway, ...payer };
  const spare = await takeSpare(context, live, place);
  const warm = spare === undefined ? undefined : await runWarm(context, { live, ready, spare });
  if (warm !== undefined) return warm;
  return live.stop === undefined ? runCold(context, { live, place, ready }) : stoppedBefore(live.stop);
}

async function runCold(
  context: RunContext,
  { live, place, ready }: { live: LiveExecution; place: AttemptPlace; ready: Ready },
): Promise<Outcome> {
  const stopped = new AbortController();
  live.onStop(() => stopped.abort());
  const leave = await context.starts.enter('run', stopped.signal);
  if (live.stop !== undefined) {
    leave?.();
    return stoppedBefore(live.stop);
  }
  context.warm.runStarts();
  const token = ready.gateway.issueToken();
  try {
    return await metered(context, { live, ready, token }, async (calls) => {
      const proxied = isProxied(egressListOf(live.record.request, context.settings), context.isolation.level);
      const box = await openRunBox(context, { ...place, gateway: ready.gateway, proxied });
      box.egress?.allow(egressRun(context, live));
      try {
        const claude = await start(context, { live, place, box, token, ready });
        void claude.spoke.then(leave);
        const begin = (conversation: Conversation): void => conversation.start(live.record.request);
        return (await supervise(context, { live, claude, calls, version: ready.version }, begin)).outcome;
      } finally {
        await box.close();
      }
    });
  } finally {
    leave?.();
  }
}

/**
 * Runs on a process that waited; `undefined` when it ended without a word before anything else was asked of it, so that
 * the same can be asked of another one.
 */
async function runWarm(
  context: RunContext,
  { live, ready, spare }: { live: LiveExecution; ready: Ready; spare: Spare },
): Promise<Outcome | undefined> {
  return metered(context, { live, ready, token: spare.token }, async (calls) => {
    const claude = spare.handOver((text) => keepStderr(context, live, text));
    spare.egress?.allow(egressRun(context, live));
    const begin = (conversation: Conversation): void => conversation.startInitialised(live.record.request);
    const followed = await supervise(context, { live, claude, calls, version: ready.version }, begin);
    const untouched = !followed.heard && !calls.any() && live.execution.state === 'running';
    return untouched && live.stop === undefined ? undefined : followed.outcome;
  });
}

/** Lets a process call the model with a token for as long as `run` lasts. */
async function metered<T>(
  context: RunContext,
  { live, ready, token }: { live: LiveExecution; ready: Ready; token: string },
  run: (calls: CallWatch) => Promise<T>,
): Promise<T> {
  const { gateway, credential } = ready;
  const calls = watchCalls(context, live);
  const { maxBudgetUsd } = live.record.request;
  gateway.attach(token, {
    executionId: live.execution.id,
    credential,
    payer: { tenant: live.record.tenant, keyId: live.record.keyId ?? undefined },
    spentUsd: live.spentUsd,
    onCall: calls.onCall,
    ...(maxBudgetUsd === undefined ? {} : { maxBudgetUsd }),
  });
  try {
    return await run(calls);
  } finally {
    live.spentUsd = gateway.spentUsd(token);
    gateway.detach(token);
    await nextTurn();
  }
}

interface Starting {
  live: LiveExecution;
  place: AttemptPlace;
  box: RunBox;
  token: string;
  ready: Ready;
}

/** Starts the process and sends the prompt; a failed start shows in `exited`. */
async function start(context: RunContext, { live, place, box, token, ready }: Starting): Promise<ClaudeProcess> {
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
    gateway: { baseUrl: ready.gateway.baseUrl, token, credentialKind: ready.credential.kind },
    inherited: { ...context.settings.inherited, ...box.egress?.environment },
  });
  return startClaude({
    ...box.enclose(command),
    ...(identity === undefined ? {} : { identity, limits: { processes: MAX_PROCESSES } }),
    maxLineBytes: context.settings.maxLineBytes,
    spare: context.launchers,
    onStderr: (text) => keepStderr(context, live, text),
  });
}

function keepStderr(context: RunContext, live: LiveExecution, text: string): void {
  if (canStore(context, live)) live.writer.append('claude.stderr', { text });
}

/**
 * Follows a started process until its whole family is gone, and decides how it ended.
 * @returns the outcome, and whether the process said anything, or was told more than the prompt
 */
async function supervise(
  context: RunContext,
  { live, claude, calls, version }: { live: LiveExecution; claude: ClaudeProcess; calls: CallWatch; version: string },
  begin: (conversation: Conversation) => void,
): Promise<{ outcome: Outcome; heard: boolean }> {
  const { request } = live.record;
  const contract = request.outputSchema === undefined ? undefined : outputContract(request.outputSchema);
  const conversation = new Conversation(live, claude, contract);
  begin(conversation);
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
    const printed = await readLines(context, { live, claude, conversation });
    const heard = printed || conversation.turns > 1;
    const report = await claude.exited;
    if (report.failure !== null) return { outcome: launchFailed(report.failure, live, claude.stderrTail()), heard };
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
    return { outcome: withDoubt(outcome, context.binary), heard };
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

function launchFailed({ reason, message }: LaunchFailure, live: LiveExecution, stderr: string): Outcome {
  if (live.stop !== undefined) return stoppedBefore(live.stop);
  if (reason === 'box_failed' && stderr !== '') return notStarted('spawn_failed', `${message}: ${stderr.trim()}`);
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
