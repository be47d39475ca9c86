import { z } from 'zod';

/*
 * The lines of the CLI that change what the service does. They are loose: a newer CLI may add fields and types, and
 * what is not understood passes through untouched. Shapes as printed by 2.1.330; samples in test/fixtures/transcripts.
 */

const Block = z.looseObject({
  type: z.string(),
  id: z.string().optional(),
  name: z.string().optional(),
  text: z.string().optional(),
  input: z.unknown().optional(),
  tool_use_id: z.string().optional(),
  is_error: z.boolean().optional(),
  content: z.unknown().optional(),
});
export type Block = z.infer<typeof Block>;

const Parent = z.string().nullish();

export const AssistantMessage = z.looseObject({
  type: z.literal('assistant'),
  message: z.looseObject({ id: z.string(), model: z.string().optional(), content: z.array(Block) }),
  parent_tool_use_id: Parent,
  error: z.string().nullish(),
});

export const UserMessage = z.looseObject({
  type: z.literal('user'),
  message: z.looseObject({ content: z.union([z.string(), z.array(Block)]) }),
  parent_tool_use_id: Parent,
});

export const StreamEvent = z.looseObject({
  type: z.literal('stream_event'),
  event: z.looseObject({
    type: z.string(),
    index: z.int().optional(),
    delta: z
      .looseObject({ type: z.string().optional(), text: z.string().optional(), thinking: z.string().optional() })
      .optional(),
    message: z.looseObject({ id: z.string() }).optional(),
    abandoned_blocks: z.looseObject({ api_message_id: z.string(), from_block_index: z.int() }).nullish(),
  }),
  parent_tool_use_id: Parent,
  api_message_id: z.string().optional(),
  abandoned_blocks: z.looseObject({ api_message_id: z.string(), from_block_index: z.int() }).nullish(),
});

const ModelUsage = z.looseObject({
  inputTokens: z.number().default(0),
  outputTokens: z.number().default(0),
  cacheReadInputTokens: z.number().default(0),
  cacheCreationInputTokens: z.number().default(0),
  costUSD: z.number().default(0),
});

/** A field of another shape than known counts as absent: a newer CLI must not make a result unreadable. */
const text = z.string().optional().catch(undefined);
const number = z.number().default(0).catch(0);

/**
 * The end of a turn. `subtype: "success"` does not mean success: `is_error` decides, and one that is absent counts as
 * an error. `total_cost_usd`, `modelUsage` and `duration_api_ms` count the whole process; `num_turns` and `duration_ms`
 * only what came since the result before (measured, 2.1.330).
 */
export const ResultMessage = z.looseObject({
  type: z.literal('result'),
  subtype: text,
  is_error: z.boolean().catch(true),
  result: text,
  errors: z.array(z.string()).optional().catch(undefined),
  terminal_reason: text,
  startup_failure_reason: text,
  api_error_status: z.number().optional().catch(undefined),
  stop_reason: text,
  num_turns: number,
  duration_ms: number,
  duration_api_ms: number,
  total_cost_usd: number,
  modelUsage: z.record(z.string(), ModelUsage).default({}).catch({}),
  permission_denials: z
    .array(z.looseObject({ tool_name: z.string(), tool_use_id: z.string() }))
    .default([])
    .catch([]),
  structured_output: z.unknown().optional(),
  queued_turn_count: number,
  user_message_uuids: z.array(z.string()).default([]).catch([]),
});
export type ResultMessage = z.infer<typeof ResultMessage>;

const SystemInit = z.looseObject({
  type: z.literal('system'),
  subtype: z.literal('init'),
  session_id: z.string(),
  model: z.string(),
  claude_code_version: z.string().optional(),
});

export const ApiRetry = z.looseObject({
  type: z.literal('system'),
  subtype: z.literal('api_retry'),
  attempt: z.int(),
  retry_delay_ms: z.number(),
  error_status: z.number().nullish(),
  error: z.string().optional(),
});

export const RateLimitEvent = z.looseObject({
  type: z.literal('rate_limit_event'),
  rate_limit_info: z.looseObject({
    status: z.string(),
    resetsAt: z.number().nullish(),
    rateLimitType: z.string().nullish(),
  }),
});

const KNOWN = z.union([
  AssistantMessage,
  UserMessage,
  StreamEvent,
  ResultMessage,
  SystemInit,
  ApiRetry,
  RateLimitEvent,
]);
export type KnownMessage = z.infer<typeof KNOWN>;

const BY_TYPE: Record<string, z.ZodType<KnownMessage>> = {
  assistant: AssistantMessage,
  user: UserMessage,
  stream_event: StreamEvent,
  result: ResultMessage,
  rate_limit_event: RateLimitEvent,
  'system/init': SystemInit,
  'system/api_retry': ApiRetry,
};

/**
 * Reads one line of the CLI.
 * @returns `object` false when the line is not a JSON object; `known` undefined when nothing is done with its kind
 */
export function readMessage(line: string): { object: boolean; known: KnownMessage | undefined } {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return { object: false, known: undefined };
    throw error;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { object: false, known: undefined };
  if (!('type' in value && typeof value.type === 'string')) return { object: true, known: undefined };
  const subtype = 'subtype' in value && typeof value.subtype === 'string' ? value.subtype : '';
  const kind = value.type === 'system' ? `system/${subtype}` : value.type;
  const schema = Object.hasOwn(BY_TYPE, kind) ? BY_TYPE[kind] : undefined;
  return { object: true, known: schema?.safeParse(value).data };
}
