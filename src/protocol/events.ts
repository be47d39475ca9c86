import { z } from 'zod';
import { Outcome, Reason } from './execution.ts';
import { Uuid } from './uuid.ts';

const Json = z.record(z.string(), z.unknown());

/**
 * The data of every event type. `claude.message` carries the CLI's line as it came; the text and thinking deltas of a
 * stream are `claude.delta` instead, never both.
 */
export const EVENT_DATA = {
  'execution.queued': z.object({
    prompt: z.string(),
    model: z.string(),
    workspace: z.string(),
    sessionId: z.string().nullable(),
  }),
  'execution.started': z.object({
    attempt: z.int(),
    model: z.string(),
    cli: z.object({ version: z.string() }),
    isolation: z.string(),
  }),
  'claude.message': Json,
  'claude.delta': z.object({
    messageId: z.string(),
    blockIndex: z.int(),
    parentToolUseId: z.string().nullable(),
    text: z.string().optional(),
    thinking: z.string().optional(),
  }),
  'claude.voided': z.object({ messageId: z.string(), fromBlock: z.int() }),
  'claude.stderr': z.object({ text: z.string() }),
  'tool.started': z.object({ toolUseId: z.string(), name: z.string(), input: z.unknown() }),
  'tool.finished': z.object({ toolUseId: z.string(), isError: z.boolean(), bytes: z.int() }),
  'approval.requested': Json,
  'approval.resolved': Json,
  'limit.notice': z.object({ kind: z.string(), retryAt: z.string().nullable(), attempt: z.int().nullable() }),
  /** A model call as the gateway witnessed it, when it has ended. Tokens and US dollars; durations in ms. */
  'model.called': z.object({
    requestId: z.string().nullable(),
    path: z.string(),
    status: z.int().nullable(),
    model: z.string().nullable(),
    usage: z.object({
      inputTokens: z.int(),
      outputTokens: z.int(),
      cacheReadTokens: z.int(),
      cacheCreation5mTokens: z.int(),
      cacheCreation1hTokens: z.int(),
      webSearches: z.int(),
      speed: z.enum(['standard', 'fast']),
      inferenceGeo: z.string().nullable(),
    }),
    costUsd: z.number(),
    estimated: z.boolean(),
    stopReason: z.string().nullable(),
    refusal: z.enum(['budget', 'spend', 'spend_unknown', 'credential']).nullable(),
    detail: z.string().nullable(),
    end: z.enum(['complete', 'client_closed', 'upstream_failed']),
    startedAt: z.string(),
    firstByteMs: z.number().nullable(),
    durationMs: z.number(),
  }),
  /** A host that the run was refused; once for each host and port, for 100 of them. */
  'egress.denied': z.object({ host: z.string(), port: z.int(), reason: z.enum(['not_listed', 'not_public']) }),
  'execution.paused': z.object({}),
  'execution.resumed': z.object({ by: z.enum(['caller', 'time']) }),
  'execution.stalled': z.object({ silentMs: z.int() }),
  'execution.retrying': z.object({ attempt: z.int(), reason: Reason, delayMs: z.int() }),
  'check.finished': Json,
  'execution.finished': z.object({ outcome: Outcome, receiptId: z.string().nullable() }),
} as const;

export type EventType = keyof typeof EVENT_DATA;
export const EVENT_TYPES = Object.keys(EVENT_DATA) as EventType[];
/** One that a later version added passes through as it stands. */
export function isEventType(value: string): value is EventType {
  return value !== '';
}

export type EventDataOf<T extends EventType> = z.infer<(typeof EVENT_DATA)[T]>;

/** One numbered record of an execution's event log. `seq` starts at 1, has no gaps, and is the cursor. */
export const ExecutionEvent = z.object({
  executionId: Uuid,
  seq: z.int().min(1),
  time: z.string(),
  type: z.enum(EVENT_TYPES as [EventType, ...EventType[]]),
  data: z.unknown(),
});

/** An event as code meets it: the type decides the shape of `data`. */
export type ExecutionEvent = {
  [T in EventType]: { executionId: string; seq: number; time: string; type: T; data: EventDataOf<T> };
}[EventType];

/**
 * An event as it is stored and delivered: `bytes` is its JSON text, made once and never made again, so that a hash
 * over it holds for ever.
 */
export interface StoredEvent {
  seq: number;
  type: EventType;
  bytes: string;
}
