import type { ExecutionResult, Outcome, Reason } from '../protocol/execution.ts';
import type { ResultMessage } from './messages.ts';
import type { Observed } from './observed.ts';

/** Why the service itself ended the run. `text` is for people. */
export interface Stop {
  kind: 'failed' | 'cancelled' | 'timed_out';
  reason: Reason;
  text: string;
}

/** All that is known when a process is gone. */
export interface Ending {
  observed: Observed;
  /** Set when the service stopped the run before a result that counts. */
  stop: Stop | undefined;
  exit: { exitCode: number | null; signal: string | null };
  /** The service had to end a process that had already given its result. */
  endedByService: boolean;
  /** What the gateway refused last, if it did. */
  gatewayRefusal: 'budget' | 'credential' | null;
  stderrTail: string;
  /** With an output schema: why the structured output does not count; undefined when it does. */
  outputProblem: string | undefined;
}

/**
 * How a run ended. Pure. `subtype` is never trusted: the CLI prints `subtype: "success"` for API errors (measured,
 * 2.1.330). A success is exactly: a result with `is_error: false` that the CLI calls completed, a process that ended
 * as told, and a valid output where a schema was given.
 */
export function decideOutcome(ending: Ending): Outcome {
  const { observed, stop, exit, stderrTail } = ending;
  const { result } = observed;
  const failed = (reason: Reason, message: string): Outcome => ({ kind: 'failed', reason, message, ...exit });
  if (stop !== undefined) return { kind: stop.kind, reason: stop.reason, message: stop.text, ...exit };
  if (result === undefined) return failed('cli_crashed', crashText(exit, stderrTail));
  if (result.is_error || !completed(result)) return failed(...classify(ending, result));
  const crashed = !ending.endedByService && (exit.signal !== null || (exit.exitCode ?? 0) !== 0);
  if (crashed)
    return failed('cli_crashed', `Claude Code gave a result and then ended badly. ${crashText(exit, stderrTail)}`);
  if (ending.outputProblem !== undefined) return failed('output_invalid', ending.outputProblem);
  return { kind: 'succeeded', reason: null, message: null, ...exit };
}

function completed(result: ResultMessage): boolean {
  const reason = result.terminal_reason ?? 'completed';
  return reason === 'completed' && (result.subtype ?? 'success') === 'success' && result.stop_reason !== 'refusal';
}

const BY_TERMINAL_REASON: Record<string, Reason> = {
  max_turns: 'max_turns',
  budget_exhausted: 'budget',
  structured_output_retry_exhausted: 'output_invalid',
  prompt_too_long: 'prompt_too_long',
  image_error: 'model_error',
};

const BY_SUBTYPE: Record<string, Reason> = {
  error_max_turns: 'max_turns',
  error_max_budget_usd: 'budget',
  error_max_structured_output_retries: 'output_invalid',
};

const BY_ASSISTANT_ERROR: Record<string, Reason> = {
  authentication_failed: 'auth_failed',
  rate_limit: 'rate_limited',
  billing_error: 'usage_limit',
  model_not_found: 'invalid_model',
  overloaded: 'overloaded',
  server_error: 'model_error',
  max_output_tokens: 'output_too_large',
};

const BY_STATUS: Record<number, Reason> = {
  401: 'auth_failed',
  402: 'usage_limit',
  403: 'auth_failed',
  413: 'prompt_too_long',
  429: 'rate_limited',
  529: 'overloaded',
};

function classify(ending: Ending, result: ResultMessage): [Reason, string] {
  const text = resultText(result);
  const reason = reasonOf(ending, result);
  return [reason, advice(reason, text, ending)];
}

function reasonOf({ observed, gatewayRefusal }: Ending, result: ResultMessage): Reason {
  const { assistantError, usageLimit } = observed;
  const status = result.api_error_status;
  if (gatewayRefusal === 'budget' && status === 402) return 'budget';
  if (gatewayRefusal === 'credential') return 'auth_failed';
  if (usageLimit !== undefined) return 'usage_limit';
  if (result.stop_reason === 'refusal') return 'refused';
  const aborted = result.terminal_reason?.startsWith('aborted') ?? false;
  if (aborted && result.permission_denials.length > 0) return 'tool_denied';
  if (result.startup_failure_reason !== undefined) return 'spawn_failed';
  return (
    own(BY_TERMINAL_REASON, result.terminal_reason) ??
    own(BY_SUBTYPE, result.subtype) ??
    own(BY_STATUS, status) ??
    own(BY_ASSISTANT_ERROR, assistantError) ??
    (result.terminal_reason === 'api_error' || assistantError !== undefined || status !== undefined
      ? 'model_error'
      : 'cli_crashed')
  );
}

function own<T>(table: Record<string | number, T>, key: string | number | null | undefined): T | undefined {
  return key != null && Object.hasOwn(table, key) ? table[key] : undefined;
}

function resultText(result: ResultMessage): string {
  const text = result.result ?? result.errors?.join('; ') ?? '';
  return text === '' ? `Claude Code ended with ${result.terminal_reason ?? result.subtype ?? 'an error'}` : text;
}

const WHAT_TO_DO: Partial<Record<Reason, string>> = {
  auth_failed: 'Check the credential with `cc-executor doctor`.',
  rate_limited: 'Try again later, or run fewer at once.',
  overloaded: 'The model API is overloaded; try again later, or give a fallback model.',
  invalid_model: 'Give a model that this credential may use, such as sonnet.',
  max_turns: 'Raise maxTurns, or ask for less.',
  budget: 'Raise maxBudgetUsd, or ask for less.',
  prompt_too_long: 'Shorten the prompt, or start a new session.',
};

function advice(reason: Reason, text: string, { observed, stderrTail }: Ending): string {
  const resetAt = observed.usageLimit?.resetAt;
  const reset = reason === 'usage_limit' && resetAt != null ? ` The limit resets at ${resetAt}.` : '';
  const tail = reason === 'cli_crashed' || reason === 'spawn_failed' ? withTail(stderrTail) : '';
  const todo = WHAT_TO_DO[reason] === undefined ? '' : ` ${WHAT_TO_DO[reason]}`;
  return `${text.slice(0, 4000).replace(/([^.!?])$/, '$1.')}${reset}${tail}${todo}`;
}

function crashText({ exitCode, signal }: Ending['exit'], stderrTail: string): string {
  const how = signal === null ? `ended with exit code ${exitCode ?? 'unknown'}` : `was killed by ${signal}`;
  return `Claude Code ${how} without a result.${withTail(stderrTail)}`;
}

function withTail(stderrTail: string): string {
  return stderrTail.trim() === ''
    ? ' It printed nothing on stderr.'
    : ` Its last words on stderr: ${stderrTail.trim()}`;
}

/** The result as callers see it; turns, times, usage and cost count the whole process. */
export function toExecutionResult(
  result: ResultMessage,
  { turns, durationMs }: Pick<Observed, 'turns' | 'durationMs'>,
  structured: unknown,
): ExecutionResult {
  const models = Object.values(result.modelUsage);
  const sum = (pick: (usage: (typeof models)[number]) => number): number =>
    Math.round(models.reduce((total, usage) => total + pick(usage), 0));
  return {
    text: result.result ?? '',
    structured: structured ?? null,
    turns: Math.round(turns),
    usage: {
      inputTokens: sum((usage) => usage.inputTokens),
      outputTokens: sum((usage) => usage.outputTokens),
      cacheReadTokens: sum((usage) => usage.cacheReadInputTokens),
      cacheCreationTokens: sum((usage) => usage.cacheCreationInputTokens),
      costUsd: result.total_cost_usd,
    },
    durationMs,
    apiDurationMs: result.duration_api_ms,
  };
}
