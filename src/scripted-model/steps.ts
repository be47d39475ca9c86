import { z } from 'zod';

/** Token numbers of an answer, as the Messages API reports them. */
export const StepUsage = z.strictObject({
  inputTokens: z.int().min(0).default(12),
  outputTokens: z.int().min(0).default(25),
  cacheReadTokens: z.int().min(0).default(0),
  cacheCreation5mTokens: z.int().min(0).default(0),
  cacheCreation1hTokens: z.int().min(0).default(0),
  webSearches: z.int().min(0).default(0),
  speed: z.enum(['standard', 'fast']).optional(),
  inferenceGeo: z.string().optional(),
});
export type StepUsage = z.infer<typeof StepUsage>;

const Milliseconds = z.int().min(0).max(3_600_000);

/** What every step may say beside its kind. */
const shared = {
  usage: StepUsage.prefault({}),
  /** Response headers, such as `request-id` or `anthropic-ratelimit-unified-status`. */
  headers: z.record(z.string(), z.string()).default({}),
  /** The model the answer names; the request's when absent. */
  model: z.string().optional(),
  /** Wait before the response headers. */
  beforeHeadersMs: Milliseconds.default(0),
  /** Characters of a streamed delta, and the wait before each one. */
  deltaSize: z.int().min(1).default(20),
  deltaEveryMs: Milliseconds.default(0),
};

const ToolUse = z.strictObject({
  name: z.string(),
  input: z.record(z.string(), z.unknown()),
  id: z.string().optional(),
});

/**
 * One scripted answer. Plain data, so that a script can stand in a JSON file:
 * - `text`: a finished answer; `thinking`, when given, comes first.
 * - `tool_use`: one or more tool calls, behind an optional text.
 * - `structured_output`: a call of the CLI's `StructuredOutput` tool.
 * - `huge_text`: `bytes` of text; `deltas`: `count` deltas of `text` each.
 * - `stall`: silence before the headers, behind them, or in mid-stream behind `text`, until the client leaves.
 * - `http_error`: a status with the API's error body, or with `body` as it stands.
 * - `reset`: the connection breaks, in mid-stream behind `text` or before the headers.
 * - `stream_error`: an SSE `error` event in mid-stream.
 * - `refusal`, `max_tokens`: an answer that ends with this stop reason.
 */
export const Step = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('text'), text: z.string(), thinking: z.string().optional(), ...shared }),
  z.strictObject({
    kind: z.literal('tool_use'),
    tools: z.array(ToolUse).min(1),
    text: z.string().optional(),
    ...shared,
  }),
  z.strictObject({ kind: z.literal('structured_output'), output: z.record(z.string(), z.unknown()), ...shared }),
  z.strictObject({
    kind: z.literal('huge_text'),
    bytes: z.int().min(1),
    ...shared,
    deltaSize: z.int().min(1).default(65_536),
  }),
  z.strictObject({ kind: z.literal('deltas'), count: z.int().min(1), text: z.string().default('x'), ...shared }),
  z.strictObject({
    kind: z.literal('stall'),
    when: z.enum(['before_headers', 'after_headers', 'mid_stream']),
    text: z.string().default('Hello from'),
    ...shared,
  }),
  z.strictObject({
    kind: z.literal('http_error'),
    status: z.int().min(400).max(599),
    type: z.string().default('api_error'),
    message: z.string().default('The script says so.'),
    body: z.string().optional(),
    ...shared,
  }),
  z.strictObject({
    kind: z.literal('reset'),
    when: z.enum(['before_headers', 'mid_stream']).default('mid_stream'),
    text: z.string().default('Hello from'),
    ...shared,
  }),
  z.strictObject({
    kind: z.literal('stream_error'),
    text: z.string().default('Hello from'),
    type: z.string().default('overloaded_error'),
    message: z.string().default('Overloaded'),
    ...shared,
  }),
  z.strictObject({ kind: z.literal('refusal'), text: z.string().default(''), ...shared }),
  z.strictObject({ kind: z.literal('max_tokens'), text: z.string().default('Hello from'), ...shared }),
]);
/** A step with its defaults filled in. */
export type Step = z.infer<typeof Step>;
/** A step as a script writes it. */
export type StepInput = z.input<typeof Step>;

/** A script as it stands in a JSON file: the steps in order. */
export const StepList = z.array(Step).min(1);
