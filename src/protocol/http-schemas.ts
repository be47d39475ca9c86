import { z } from 'zod';
import { MAX_AUDIT_ENTRIES } from './audit.ts';
import { ExecutionEvent } from './events.ts';
import { Execution, ExecutionState, OUTCOME_KINDS } from './execution.ts';
import { TurnText } from './execution-request.ts';
import { Uuid } from './uuid.ts';

/** The longest wait a caller may ask of `POST /v1/execute` and of a long poll, in ms. */
export const MAX_WAIT_MS = 600_000;
/** A JSON body, in bytes: a prompt of 4 MiB whose every character is escaped, and all the rest. */
export const MAX_BODY_BYTES = 32 * 1024 * 1024;
export const MAX_EVENTS = 1_000;
export const MAX_EXECUTIONS = 1_000;

/** The seq after which a reader goes on: 0 for the whole log. */
export const Cursor = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

export const ListQuery = z.strictObject({
  state: ExecutionState.optional(),
  outcome: z.enum(OUTCOME_KINDS).optional(),
  sessionId: Uuid.optional(),
  limit: z.int().min(1).max(MAX_EXECUTIONS).default(50),
  /** The `nextCursor` of the page before. */
  cursor: Uuid.optional(),
});
export type ListQuery = z.infer<typeof ListQuery>;

/** Newest first. A page may hold fewer than `limit`: `nextCursor` is null at the end. */
export const ExecutionPage = z.object({ executions: z.array(Execution), nextCursor: Uuid.nullable() });
export type ExecutionPage = z.infer<typeof ExecutionPage>;

export const EventsQuery = z.strictObject({
  after: Cursor.default(0),
  limit: z.int().min(1).max(MAX_EVENTS).default(500),
  /** How long to wait for an event when there is none after the cursor, in ms. */
  waitMs: z.int().min(0).max(MAX_WAIT_MS).default(0),
});

/** `finished`: the last event of the log is among these or before them; nothing follows. */
export const EventPage = z.object({ events: z.array(ExecutionEvent), nextAfter: Cursor, finished: z.boolean() });
export type EventPage = z.infer<typeof EventPage>;

export const AuditQuery = z.strictObject({
  after: Cursor.default(0),
  limit: z.int().min(1).max(MAX_AUDIT_ENTRIES).default(100),
});

export const ExecuteQuery = z.strictObject({
  /** How long to wait for the end, in ms. */
  waitMs: z.int().min(0).max(MAX_WAIT_MS).default(MAX_WAIT_MS),
});

export const InputBody = z.strictObject({ text: TurnText });

/** A file or folder of a workspace, links not followed. `size` in bytes. */
export const WorkspaceEntry = z.object({
  name: z.string(),
  kind: z.enum(['file', 'directory', 'link', 'other']),
  size: z.int(),
  modifiedAt: z.string(),
});
export type WorkspaceEntry = z.infer<typeof WorkspaceEntry>;

export const Listing = z.object({
  path: z.string(),
  entries: z.array(WorkspaceEntry),
  /** Whether the folder has more entries than are listed. */
  truncated: z.boolean(),
});
export type Listing = z.infer<typeof Listing>;

export const WrittenFile = z.object({ path: z.string(), size: z.int() });
export type WrittenFile = z.infer<typeof WrittenFile>;

export const UnpackedArchive = z.object({ files: z.int(), directories: z.int(), bytes: z.int() });
export type UnpackedArchive = z.infer<typeof UnpackedArchive>;

export const Welcome = z.object({
  name: z.literal('cc-executor'),
  docs: z.string(),
  openapi: z.string(),
  openrpc: z.string(),
  websocket: z.string(),
  health: z.string(),
});
