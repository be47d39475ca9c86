import { z } from 'zod';
import { Execution, ExecutionResult, type ExecutionState, Outcome, Usage } from './execution.ts';
import type { ExecutionRequest } from './execution-request.ts';

/**
 * The two documents of a record as any version may have stored them (docs/adr/0011-records-of-other-versions.md): a field
 * that a later version added is kept as it stands, and so is a word that a later version added to a list; what an
 * earlier version did not know yet is empty. What is stored was accepted once, so no limit is checked again.
 */

/** A word of a list that a later version may have made longer. */
function word<T extends string>(): z.ZodType<T> {
  return z.custom<T>((value) => typeof value === 'string' && value !== '', { error: 'is not a word' });
}

type OutcomeOf = z.infer<typeof Outcome>;

/** The public part. */
export const ExecutionDocument: z.ZodType<Execution> = z.looseObject({
  ...Execution.shape,
  id: z.string(),
  state: word<ExecutionState>(),
  outcome: Outcome.extend({
    kind: word<OutcomeOf['kind']>(),
    reason: word<NonNullable<OutcomeOf['reason']>>().nullable(),
  })
    .loose()
    .nullable()
    .default(null),
  result: ExecutionResult.extend({ usage: Usage.loose() }).loose().nullable().default(null),
  partialText: z.string().default(''),
  cli: z.looseObject({ version: z.string() }).nullable().default(null),
  timeLimit: z.looseObject({ ms: z.int(), source: word<Execution['timeLimit']['source']>() }),
  receiptId: z.string().nullable().default(null),
  cancelRequestedAt: z.string().nullable().default(null),
  denials: z.array(z.looseObject({ toolUseId: z.string(), name: z.string() })).default([]),
  isolation: word<Execution['isolation']>().default('L1'),
  egress: z.union([word<'open'>(), z.array(z.string())]).default('open'),
  queuePosition: z.int().nullable().default(null),
  startedAt: z.string().nullable().default(null),
  finishedAt: z.string().nullable().default(null),
  metadata: z.record(z.string(), z.string()).default({}),
});

/** `state` beside the document. */
export const StateWord: z.ZodType<ExecutionState> = word<ExecutionState>();

const Texts = z.array(z.string()).optional();
const Text = z.string().optional();
const Count = z.number().optional();
const JsonObject = z.record(z.string(), z.unknown());

/** What was asked for. */
export const RequestDocument: z.ZodType<ExecutionRequest> = z.looseObject({
  prompt: z.string(),
  sessionId: Text,
  workspace: Text,
  model: Text,
  fallbackModel: Text,
  maxTurns: Count,
  maxBudgetUsd: Count,
  systemPrompt: Text,
  appendSystemPrompt: Text,
  tools: Texts,
  allowedTools: Texts,
  disallowedTools: Texts,
  permissionMode: word<ExecutionRequest['permissionMode']>().default('default'),
  approvals: word<ExecutionRequest['approvals']>().default('deny'),
  mcpServers: z.record(z.string(), JsonObject).optional(),
  outputSchema: JsonObject.optional(),
  env: z.record(z.string(), z.string()).optional(),
  timeLimitMs: Count,
  stallAfterMs: Count,
  partialMessages: z.boolean().default(true),
  checks: z.array(JsonObject).optional(),
  retry: z.looseObject({ max: z.number() }).optional(),
  priority: z.number().default(50),
  cancelOnDisconnect: z.boolean().default(false),
  egress: Texts,
  repairTurns: z.number().default(1),
  idempotencyKey: Text,
  projectSettings: z.boolean().default(false),
  metadata: z.record(z.string(), z.string()).optional(),
});
