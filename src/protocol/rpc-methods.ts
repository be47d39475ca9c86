import { z } from 'zod';
import type { ErrorCode } from './errors.ts';
import { ExecutionEvent } from './events.ts';
import { Execution } from './execution.ts';
import { ExecutionRequest, TurnText } from './execution-request.ts';
import { Cursor, ExecutionPage, ListQuery, MAX_BODY_BYTES } from './http-schemas.ts';
import type { Access } from './scopes.ts';

/** Any text: one that is no id of an execution is `not_found`. */
const ExecutionId = z.string().min(1).max(200);

/** The longest frame that is taken, in bytes: the longest prompt, and room for what JSON escapes. */
export const MAX_FRAME_BYTES = MAX_BODY_BYTES;

export interface RpcMethod {
  summary: string;
  /** What it asks of its caller. */
  access: Access;
  /** An object by name; by position, the values stand in the order of its fields. */
  params: z.ZodObject;
  result: z.ZodType;
  /** Beside those that any call may be answered with, `ANY_METHOD`. */
  errors: readonly ErrorCode[];
}

/** What any call may be answered with, beside -32700, -32600 and -32601. */
export const ANY_METHOD = [
  'invalid_request',
  'internal',
  'unauthenticated',
  'storage_unavailable',
] as const satisfies readonly ErrorCode[];

/** Every method that a client may call over the WebSocket. */
export const RPC_METHODS = {
  authenticate: {
    summary:
      'Present the key or token, where neither a header nor a subprotocol did; later, a fresh one of the same tenant',
    access: 'open',
    params: z.strictObject({ key: z.string().min(1).max(8192) }),
    result: z.object({ authenticated: z.literal(true) }),
    errors: ['conflict', 'too_many'],
  },
  execute: {
    summary: 'Accept a task and subscribe to its events from the first; when this answers, it is stored',
    access: 'executions:write',
    params: ExecutionRequest,
    result: Execution,
    errors: [
      'not_found',
      'idempotency_conflict',
      'queue_full',
      'shutting_down',
      'isolation_unavailable',
      'not_implemented',
      'too_many',
      'quota_exceeded',
    ],
  },
  subscribe: {
    summary: 'Receive the events after a cursor, those to come included, as `event` notifications',
    access: 'executions:read',
    params: z.strictObject({ executionId: ExecutionId, after: Cursor.default(0) }),
    result: z.object({ executionId: z.string(), after: Cursor }),
    errors: ['not_found', 'conflict', 'cursor_in_future', 'truncated_before', 'too_many'],
  },
  unsubscribe: {
    summary: 'Receive no more events of an execution; `lastSeq` is the last one sent',
    access: 'executions:read',
    params: z.strictObject({ executionId: ExecutionId }),
    result: z.object({ executionId: z.string(), lastSeq: Cursor }),
    errors: ['not_found'],
  },
  control: {
    summary: 'Pause, resume or cancel an execution',
    access: 'executions:write',
    params: z.strictObject({ executionId: ExecutionId, action: z.enum(['pause', 'resume', 'cancel']) }),
    result: Execution,
    errors: ['not_found', 'conflict'],
  },
  input: {
    summary: 'Add a user turn that runs after the current one',
    access: 'executions:write',
    params: z.strictObject({ executionId: ExecutionId, text: TurnText }),
    result: Execution,
    errors: ['not_found', 'conflict', 'quota_exceeded'],
  },
  'executions.get': {
    summary: 'Read an execution as it is now',
    access: 'executions:read',
    params: z.strictObject({ executionId: ExecutionId }),
    result: Execution,
    errors: ['not_found'],
  },
  'executions.list': {
    summary: 'List executions, newest first',
    access: 'executions:read',
    params: ListQuery,
    result: ExecutionPage,
    errors: [],
  },
  'rpc.discover': {
    summary: 'Read this interface as an OpenRPC document',
    access: 'any',
    params: z.strictObject({}),
    result: z.record(z.string(), z.unknown()),
    errors: [],
  },
  ping: {
    summary: 'Have the service answer',
    access: 'any',
    params: z.strictObject({}),
    result: z.object({ time: z.string() }),
    errors: [],
  },
} as const satisfies Record<string, RpcMethod>;

export type MethodName = keyof typeof RPC_METHODS;

/** Why a subscription ended before its connection did, or together with it. */
export const CLOSE_REASONS = [
  'finished',
  'too_slow',
  'going_away',
  'deleted',
  'unauthenticated',
  'storage_unavailable',
  'internal',
] as const;

/** What the service sends by itself. */
export const RPC_NOTIFICATIONS = {
  event: { summary: 'One event of a subscription, in order, without gap or repetition', params: ExecutionEvent },
  'subscription.closed': {
    summary: 'No more events of this execution follow; go on after `lastSeq` where there is more to come',
    params: z.object({ executionId: z.string(), reason: z.enum(CLOSE_REASONS), lastSeq: Cursor }),
  },
  'server.draining': {
    summary: 'The service is about to end: it takes no new tasks, and runs go on for up to `drainMs`',
    params: z.object({ drainMs: z.int() }),
  },
} as const satisfies Record<string, { summary: string; params: z.ZodType }>;

/** WebSocket close codes (RFC 6455 section 7.4; 4000 to 4999 are the application's own). */
export const CLOSE_CODES = {
  goingAway: { code: 1001, text: 'the service is going away; connect again and go on after your last seq' },
  textOnly: { code: 1003, text: 'frames are text' },
  tooBig: { code: 1009, text: 'a frame is longer than is taken' },
  failed: { code: 1011, text: 'the service could not check the key; connect again' },
  wrongKeys: { code: 4430, text: 'too many wrong keys came from this address; try again in a minute' },
  unauthenticated: { code: 4401, text: 'a valid key is needed, or the one of this connection has ended' },
  origin: { code: 4403, text: 'pages of this origin may not connect' },
  slowToAuthenticate: { code: 4408, text: 'no key was presented in time' },
  tooSlow: { code: 4429, text: 'the client reads too slowly; connect again and go on after your last seq' },
} as const;
