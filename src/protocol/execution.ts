import { z } from 'zod';
import { Uuid } from './uuid.ts';

export const EXECUTION_STATES = ['queued', 'running', 'paused', 'waiting_approval', 'finished'] as const;
export const ExecutionState = z.enum(EXECUTION_STATES);
export type ExecutionState = z.infer<typeof ExecutionState>;

export const OUTCOME_KINDS = ['succeeded', 'failed', 'cancelled', 'timed_out', 'lost'] as const;

/** Why an execution did not succeed. `check_failed` comes with acceptance checks. */
export const REASONS = [
  'auth_failed',
  'rate_limited',
  'usage_limit',
  'overloaded',
  'model_error',
  'max_turns',
  'budget',
  'prompt_too_long',
  'output_invalid',
  'refused',
  'invalid_model',
  'output_too_large',
  'check_failed',
  'tool_denied',
  'cli_missing',
  'spawn_failed',
  'cli_crashed',
  'time_limit',
  'storage_full',
  'worker_lost',
  'cancelled_by_caller',
] as const;
export const Reason = z.enum(REASONS);
export type Reason = z.infer<typeof Reason>;

/** How an execution ended. `message` is for people: what happened, why, what to do. */
export const Outcome = z.object({
  kind: z.enum(OUTCOME_KINDS),
  reason: Reason.nullable(),
  message: z.string().nullable(),
  exitCode: z.int().nullable(),
  signal: z.string().nullable(),
});
export type Outcome = z.infer<typeof Outcome>;

/** Tokens and US dollars of the whole execution, as the CLI reports them at its end. */
export const Usage = z.object({
  inputTokens: z.int(),
  outputTokens: z.int(),
  cacheReadTokens: z.int(),
  cacheCreationTokens: z.int(),
  costUsd: z.number(),
});
export type Usage = z.infer<typeof Usage>;

export const ExecutionResult = z.object({
  text: z.string(),
  structured: z.unknown(),
  turns: z.int(),
  usage: Usage,
  durationMs: z.number(),
  apiDurationMs: z.number(),
});
export type ExecutionResult = z.infer<typeof ExecutionResult>;

/** One prompt run by one Claude process. Times are RFC 3339 UTC with milliseconds. */
export const Execution = z.object({
  id: Uuid,
  state: ExecutionState,
  outcome: Outcome.nullable(),
  result: ExecutionResult.nullable(),
  /** The assistant's text so far, without voided blocks; the last 4 Mi characters when it is longer. */
  partialText: z.string(),
  sessionId: z.string().nullable(),
  workspace: z.string(),
  model: z.string(),
  cli: z.object({ version: z.string() }).nullable(),
  attempt: z.int().min(1),
  timeLimit: z.object({ ms: z.int(), source: z.enum(['request', 'learned', 'default']) }),
  /** The highest `seq` in the event log. */
  lastSeq: z.int().min(1),
  receiptId: z.string().nullable(),
  cancelRequestedAt: z.string().nullable(),
  denials: z.array(z.object({ toolUseId: z.string(), name: z.string() })),
  /** What the operating system keeps the run away from. */
  isolation: z.enum(['L1', 'L2', 'L3']),
  /** The hosts it may reach besides the model; `open` where nothing holds it to a list. */
  egress: z.union([z.literal('open'), z.array(z.string())]),
  queuePosition: z.int().nullable(),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
});
export type Execution = z.infer<typeof Execution>;
