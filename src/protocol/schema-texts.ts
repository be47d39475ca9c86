import type { AuditEntry, AuditPage } from './audit.ts';
import { CREDENTIAL_OUTPUT_TEXTS, CREDENTIAL_SCHEMA_TEXTS } from './credential-texts.ts';
import type { ExecutionEvent } from './events.ts';
import type { Execution, ExecutionResult, Outcome, Usage } from './execution.ts';
import type { HealthDetail, HealthState } from './health.ts';
import type {
  EventPage,
  ExecutionPage,
  Listing,
  UnpackedArchive,
  Welcome,
  WorkspaceEntry,
  WrittenFile,
} from './http-schemas.ts';
import { KEY_OUTPUT_TEXTS, KEY_SCHEMA_TEXTS } from './key-texts.ts';
import type { Problem } from './problem.ts';

/** What each named schema is. */
export const SCHEMA_TEXTS: Readonly<Record<string, string>> = {
  ExecutionRequest: 'What a caller asks for. Unknown fields are refused with their path.',
  InputBody: 'A further user turn.',
  Execution: 'One prompt run by one Claude process. A failed run is no error: it has an outcome.',
  ExecutionState: 'Where an execution is in its life; `finished` is final.',
  Outcome: 'How an execution ended.',
  Reason: 'Why an execution did not succeed.',
  ExecutionResult: 'What the program said at its end.',
  Usage: 'Tokens and US dollars of the whole execution, as the program reports them at its end.',
  ExecutionPage: 'Executions, newest first.',
  ExecutionEvent: 'One numbered record of an event log. `x-event-data` has the shape of `data` for each type.',
  EventPage: 'Events in order, after a cursor.',
  Listing: 'A folder of a workspace.',
  WorkspaceEntry: 'A file or folder of a workspace.',
  WrittenFile: 'A file as it was written.',
  UnpackedArchive: 'What an archive held.',
  ...KEY_SCHEMA_TEXTS,
  ...CREDENTIAL_SCHEMA_TEXTS,
  AuditEntry:
    'Who did what, once. Its stored text is one line of the export; `former` is the SHA-256 of the line before.',
  AuditPage: 'Entries of the audit log, in order.',
  HealthState: 'How the service is.',
  HealthDetail: 'How the service is, and each thing that it depends on; told to the operator.',
  Welcome: 'Where everything is.',
  Problem: 'A refusal (RFC 9457). `code` is what programs act on.',
};

/** What each field of an answer means. A field that is missing here does not compile. */
export const OUTPUT_TEXTS = {
  Execution: {
    id: 'A UUIDv7, made by the service.',
    state: 'Where it is in its life.',
    outcome: 'How it ended; null until then.',
    result: 'What the program said at its end; null where it never came to that.',
    partialText: 'The text of the assistant so far, without voided blocks; the last 4 Mi characters of a longer one.',
    sessionId: 'The conversation: give it with another request to continue.',
    workspace: 'Where it works: the name that was given, or one of its own. Its files are read by this name.',
    model: 'The model asked for.',
    cli: 'The version of the `claude` program; null before it starts.',
    attempt: '1, and one more for every retry.',
    timeLimit: 'The wall-clock limit in ms, and where it comes from.',
    lastSeq: 'The highest `seq` in the event log.',
    receiptId: 'Null: receipts are not built yet.',
    cancelRequestedAt: 'When its end was first asked for.',
    denials: 'Tool calls that were denied.',
    isolation: 'What the operating system keeps the run away from.',
    egress: 'The hosts it may reach besides the model; `open` where nothing holds it to a list, as at L1.',
    queuePosition: '1 when it is the next to start; null when it does not wait here.',
    createdAt: 'When it was accepted.',
    startedAt: 'When its first process started.',
    finishedAt: 'When its last event was stored.',
    metadata: 'As in the request.',
  },
  Outcome: {
    kind: 'What kind of end it was.',
    reason: 'Why it did not succeed; null when it did.',
    message: 'For people: what happened, why, what to do.',
    exitCode: 'That of the `claude` process, where it had one.',
    signal: 'That which ended the `claude` process, where one did.',
  },
  ExecutionResult: {
    text: 'The final answer.',
    structured: 'The answer that matches `outputSchema`; null where none was asked for.',
    turns: 'Turns the program counted.',
    usage: 'What it used.',
    durationMs: 'How long the program took, in ms.',
    apiDurationMs: 'How long of that went into the model API, in ms.',
  },
  Usage: {
    inputTokens: 'Tokens sent, without those of the cache.',
    outputTokens: 'Tokens written.',
    cacheReadTokens: 'Tokens read from the cache.',
    cacheCreationTokens: 'Tokens written to the cache.',
    costUsd: 'US dollars.',
  },
  ExecutionPage: {
    executions: 'May be fewer than `limit`, also before the last page.',
    nextCursor: 'The `cursor` of the next page; null at the end.',
  },
  ExecutionEvent: {
    executionId: 'Whose event it is.',
    seq: 'Its number: from 1, without gaps. It is the cursor.',
    time: 'When it was made.',
    type: 'Decides the shape of `data`. Types may be added: ignore those you do not know.',
    data: 'What happened.',
  },
  EventPage: {
    events: 'In order; byte for byte as they are stored.',
    nextAfter: 'The `after` of the next page.',
    finished: 'Whether the last event of the log is among these or before them: nothing follows.',
  },
  Listing: {
    path: 'The folder, from the root of the workspace.',
    entries: 'What is in it.',
    truncated: 'Whether it has more entries than are listed.',
  },
  WorkspaceEntry: {
    name: 'Its name in the folder.',
    kind: 'What it is.',
    size: 'In bytes.',
    modifiedAt: 'When it was last written.',
  },
  WrittenFile: { path: 'From the root of the workspace.', size: 'In bytes.' },
  UnpackedArchive: { files: 'How many files.', directories: 'How many folders.', bytes: 'All files together.' },
  ...KEY_OUTPUT_TEXTS,
  ...CREDENTIAL_OUTPUT_TEXTS,
  AuditEntry: {
    seq: '1, 2, 3 … without gaps.',
    time: 'When it was asked for.',
    action: 'What was done, such as `execution.start`.',
    outcome: '`ok`, or the `code` of the refusal.',
    tenant: 'Whose it was; null for the service itself.',
    keyId: 'The key that was presented.',
    address: 'Where the request came from.',
    requestId: 'Names the request, or the connection, in the log of the service.',
    subject: 'The id or name of what it was done to.',
    detail: 'Further facts; never a prompt, an output or a secret.',
    former: 'The SHA-256 of the text of the entry before; zeros for the first.',
  },
  AuditPage: {
    entries: 'In order, after a cursor.',
    nextAfter: 'The `after` of the next page.',
    last: 'The newest entry of the log, and the SHA-256 of its text.',
    cut: 'The last entry that retention removed: the chain goes on from there.',
  },
  HealthState: {
    status: '`draining`: it ends the runs it has and takes no more. `broken`: something it needs is missing.',
  },
  HealthDetail: {
    status: '`draining`: it ends the runs it has and takes no more. `broken`: something it needs is missing.',
    version: 'That of the service.',
    role: '`api` accepts, `worker` runs, `all` does both.',
    checks: 'How each thing is that it depends on; `detail` says how to repair it.',
    running: 'Executions that run here.',
    waiting: 'Executions that wait: here, or where workers share a queue, in it.',
    isolation: 'What runs are kept away from here.',
  },
  Welcome: {
    name: 'This service.',
    docs: 'The interfaces, for people.',
    openapi: 'The HTTP interface.',
    openrpc: 'The WebSocket interface.',
    websocket: 'Where the WebSocket is.',
    health: 'How the service is.',
  },
  Problem: {
    type: '`urn:cc-executor:problem:` and the code.',
    title: 'What the code means.',
    status: 'The HTTP status.',
    detail: 'What happened, why, and what to do; absent for a defect of the service.',
    code: 'What programs act on. The same as `error.data.code` of JSON-RPC.',
    requestId: 'Names the request in the log of the service.',
    errors: 'Every wrong field, with its path.',
    retryAfterMs: 'When the same request may succeed, in ms from now.',
    firstSeq: 'With `truncated_before`: the first event still kept.',
    lastSeq: 'With `cursor_in_future`: the newest event.',
    state: 'With `conflict`: the state that does not allow it.',
    scope: 'With `forbidden`: the scope that is missing.',
  },
} as const satisfies {
  Execution: Record<keyof Execution, string>;
  Outcome: Record<keyof Outcome, string>;
  ExecutionResult: Record<keyof ExecutionResult, string>;
  Usage: Record<keyof Usage, string>;
  ExecutionPage: Record<keyof ExecutionPage, string>;
  ExecutionEvent: Record<keyof ExecutionEvent, string>;
  EventPage: Record<keyof EventPage, string>;
  Listing: Record<keyof Listing, string>;
  WorkspaceEntry: Record<keyof WorkspaceEntry, string>;
  WrittenFile: Record<keyof WrittenFile, string>;
  UnpackedArchive: Record<keyof UnpackedArchive, string>;
  AuditEntry: Record<keyof AuditEntry, string>;
  AuditPage: Record<keyof AuditPage, string>;
  HealthState: Record<keyof HealthState, string>;
  HealthDetail: Record<keyof HealthDetail, string>;
  Welcome: Record<keyof typeof Welcome.shape, string>;
  Problem: Record<keyof Problem, string>;
};
