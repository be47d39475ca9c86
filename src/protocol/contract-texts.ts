import type { ErrorCode } from './errors.ts';
import type { EventType } from './events.ts';
import type { ExecutionState, Outcome, Reason } from './execution.ts';
import type { ExecutionRequest } from './execution-request.ts';

/** What the documents say beside what the schemas say. A name that is missing here does not compile. */
export const FIELD_TEXTS: Readonly<Record<keyof ExecutionRequest, string>> = {
  prompt: 'What Claude is asked, 1 byte to 4 MiB of UTF-8. Taken literally: no `@file`, no `/command`.',
  sessionId: 'Continues that conversation. Left out: a new one.',
  workspace: 'A named workspace, or `lent:name` for a directory the operator lends. Left out: a fresh one.',
  model: 'A model alias or full name. Left out: `CC_DEFAULT_MODEL`.',
  fallbackModel: 'The model that Claude Code turns to when the first is overloaded.',
  maxTurns: 'Turns after which the run ends as `max_turns`.',
  maxBudgetUsd: 'US dollars after which no further model call is made; the run ends as `budget`.',
  systemPrompt: 'Replaces the system prompt of Claude Code, up to 1 MiB.',
  appendSystemPrompt: 'Is added to the system prompt, up to 1 MiB.',
  tools: 'The built-in tools that exist for this run.',
  allowedTools: 'Tools and rules that need no permission, such as `Bash(git status *)`.',
  disallowedTools: 'Tools and rules that are denied.',
  permissionMode: 'As in Claude Code. `bypassPermissions` is refused where the run would be root.',
  approvals: 'What happens to a tool that needs permission. `ask` is not built yet: answered with `not_implemented`.',
  mcpServers: 'MCP servers of this run, by name, as in the `mcpServers` of Claude Code.',
  outputSchema: 'A JSON Schema (2020-12), up to 256 KiB, that the answer must match.',
  env: 'Variables of the run. Names that steer Claude Code, the loader or an interpreter are refused.',
  timeLimitMs: 'Wall-clock limit of the run; time spent paused does not count. Left out: `CC_TIME_LIMIT_MS`.',
  stallAfterMs: 'Silence after which `execution.stalled` is written. Left out: `CC_STALL_AFTER_MS`.',
  partialMessages: 'Whether text is streamed as `claude.delta` events.',
  checks: 'Acceptance checks. Not built yet: answered with `not_implemented`.',
  retry: '`{max}`: attempts after the first, for transient failures only, in a fresh workspace only.',
  priority: 'Higher starts first; the same starts in order of arrival.',
  cancelOnDisconnect:
    'Whether the run ends with the connection that asked for it. `POST /v1/executions`, which keeps none, refuses it.',
  egress:
    'Hosts the run may reach besides the model: `example.org`, `*.example.org`, with `:port` for others than 443 and 80; `[]` for none. Left out: `CC_EGRESS`. At L1 programs are only asked to keep to it.',
  repairTurns: 'Further turns in which a structured output that is missing or wrong may be mended.',
  idempotencyKey: 'The same key with the same request returns the execution of the first time.',
  projectSettings:
    'Whether settings files, hooks and `.mcp.json` of the workspace count. Only where isolation is L3; elsewhere refused.',
  metadata: 'Up to 16 strings of the caller’s own.',
};

export const EVENT_TEXTS: Readonly<Record<EventType, string>> = {
  'execution.queued': 'Always `seq` 1: the execution is accepted and stored.',
  'execution.started': 'An attempt’s `claude` process runs.',
  'claude.message': 'A line of the program as it came, unless it is a delta.',
  'claude.delta': 'A piece of text or of thinking, as it is written.',
  'claude.voided': 'From this block on, the message’s text shown so far no longer counts.',
  'claude.stderr': 'What the program wrote to stderr.',
  'tool.started': 'A tool is called.',
  'tool.finished': 'Its result is in; `bytes` is the length of the result.',
  'approval.requested': 'Comes with approvals.',
  'approval.resolved': 'Comes with approvals.',
  'limit.notice': 'The model API holds the run back; `retryAt` says until when, where it is known.',
  'model.called': 'A call of the model API has ended, as the gateway saw it: the second witness of what a run used.',
  'egress.denied':
    'The run was refused a host: `not_listed` in its egress list, or `not_public`. Once for each host and port, for 100 of them.',
  'execution.paused': 'The whole process tree is stopped, and so are the clocks.',
  'execution.resumed': 'It goes on: asked by the `caller`, or after 240 s by `time`.',
  'execution.stalled': 'No output for `silentMs`. The run goes on.',
  'execution.retrying': 'Another attempt, because the caller asked for retries.',
  'check.finished': 'Comes with acceptance checks.',
  'execution.finished': 'Always the last event, exactly once, when no process of the run is left.',
};

export const STATE_TEXTS: Readonly<Record<ExecutionState, string>> = {
  queued: 'stored, and not started',
  running: 'its process is prepared, runs, or is being ended',
  paused: 'its process tree is stopped',
  waiting_approval: 'comes with approvals',
  finished: 'it has an outcome; final',
};

export const OUTCOME_TEXTS: Readonly<Record<Outcome['kind'], string>> = {
  succeeded: 'Claude finished its turn without an error, and the structured output, if asked for, is valid.',
  failed: 'It did not; `reason` says why.',
  cancelled: 'The caller, or the end of the service, ended it.',
  timed_out: 'The time limit ended it.',
  lost: 'The service that ran it died. All output up to then is kept; nothing was run again.',
};

export const REASON_TEXTS: Readonly<Record<Reason, string>> = {
  auth_failed: 'The credential is missing, expired or refused.',
  rate_limited: 'The model API answered 429 until Claude Code gave up.',
  usage_limit: 'The usage window of the subscription is used up; the message says until when, where that is known.',
  overloaded: 'The model API answered 529 until Claude Code gave up.',
  model_error: 'The model API failed in another way.',
  max_turns: '`maxTurns` was reached.',
  budget: '`maxBudgetUsd` was reached.',
  prompt_too_long: 'The conversation does not fit into the model’s context.',
  output_invalid: 'The structured output is missing or does not match `outputSchema`.',
  refused: 'The model declined.',
  invalid_model: 'There is no such model for this credential.',
  output_too_large: 'A line over `CC_MAX_LINE_BYTES`, or a log over `CC_MAX_LOG_BYTES`.',
  check_failed: 'Comes with acceptance checks.',
  tool_denied: 'A denied tool interrupted the run.',
  cli_missing: 'The `claude` program cannot be used.',
  spawn_failed: 'The process or its folders could not be made.',
  cli_crashed: 'The program ended without a result.',
  time_limit: 'The time limit passed.',
  storage_full: 'The event log could not be written.',
  worker_lost: 'The service died in mid-run.',
  cancelled_by_caller: 'Cancelled, or the service was shut down.',
};

export const ERROR_TEXTS: Readonly<Record<ErrorCode, string>> = {
  invalid_request: '`errors` names every wrong field with its path',
  cursor_in_future: '`lastSeq` is the newest event',
  not_found: 'an execution or session that does not exist, or is not yours',
  conflict: '`state` says what it is instead',
  idempotency_conflict: 'the key was used for another request',
  truncated_before: '`firstSeq` is the first event still kept',
  payload_too_large: 'send less',
  queue_full: '`retryAfterMs` says when to try again',
  shutting_down: 'try again when the service is back',
  storage_unavailable: 'the disk is full, read-only or gone',
  storage_newer: 'use the version that wrote the data folder, or a newer one',
  data_folder_unusable: 'the message says what is wrong with it',
  credential_unusable: 'run `cc-executor doctor`',
  not_implemented: 'leave the field out',
  stale_writer: 'inside the service only: a late writer was refused',
  unauthenticated: 'give it as `Authorization: Bearer`, or as `x-api-key`',
  forbidden: '`scope` names what is missing; use a key that has it',
  origin_refused: 'name the origin in `CC_ALLOWED_ORIGINS`',
  method_not_allowed: '`Allow` names those that it takes',
  request_timeout: 'headers, a JSON body, and every part of an upload have a time limit',
  unsupported_media_type: 'JSON is sent as `application/json`, and nothing is sent compressed',
  too_many: '`retryAfterMs` says when to try again',
  quota_exceeded: 'the message names the limit; `retryAfterMs` says when the day ends',
  not_running: 'made by clients that cannot reach it',
  model_api_unreachable: 'a Claude credential could not be checked; `retryAfterMs` says when to try again',
  address_unusable: 'made at the start: another program listens there',
  isolation_unavailable: 'the message says which level there is, and why not more',
  internal: 'a defect; the service’s log has the details',
};
