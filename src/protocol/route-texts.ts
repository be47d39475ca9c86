import type { RouteName } from './http-routes.ts';

/** What each parameter of a path, a query or a method means. */
export const PARAMETER_TEXTS: Readonly<Record<string, string>> = {
  executionId: 'The `id` of an execution. What is no id of one is `not_found`.',
  name: 'The `workspace` of an execution, a name of your own, or `lent:name`.',
  path: 'From the root of the workspace; slashes separate folders and are sent as they are, not as %2F.',
  state: 'Only those in this state.',
  outcome: 'Only those that ended so.',
  sessionId: 'Only those of this conversation.',
  limit: 'How many at most.',
  cursor: 'The `nextCursor` of the page before.',
  after: 'The `seq` after which to go on; 0 for the whole log.',
  key: 'The key, or a token.',
  keyId: 'The `id` of a key. What is no id of one is `not_found`.',
  tenant: 'Only those of this tenant; another than that of the caller is for the operator.',
  action: 'As the routes of these names.',
  text: 'What the user says next: 1 byte to 4 MiB of UTF-8.',
  test: '`true` tries the credential of this node with a call that costs nothing, at most once a minute.',
  waitMs: 'How long to wait, in ms, when there is nothing to answer with yet.',
};

const TURN = 'Applies while the execution runs or is paused; otherwise `conflict`, with its `state`.';

/** What a route does beside what its summary says. */
export const ROUTE_TEXTS: Readonly<Partial<Record<RouteName, string>>> = {
  authStatus:
    'For a key with the scope `admin` of the tenant `local`. An API that has no credential tells what its workers last told.',
  resetMaxAccount: 'What the operator has configured is the account again after the next start of its node.',
  execute:
    'Answers 200 with the finished execution, whatever its outcome, or 202 when `waitMs` is over first. With ' +
    '`Accept: text/event-stream` its events are streamed instead, and `waitMs` has no meaning. `cancelOnDisconnect` ' +
    'binds the execution to this very request.',
  createExecution:
    'The execution is stored before this answers, and goes on whoever is connected. `cancelOnDisconnect` is refused.',
  listExecutions: 'A page may hold fewer than `limit`; the last one has a `nextCursor` of null.',
  deleteExecution: 'A named or lent workspace stays. While it has not finished: `conflict`.',
  readEvents:
    'Without `Accept: text/event-stream` this is a page; `waitMs` makes it a long poll, which answers as soon as there ' +
    'is an event. A stream goes on until the last event; 204 says that nothing can follow, so that an `EventSource` stops.',
  readOutput: 'The same text as `partialText`.',
  pauseExecution: `${TURN} The clocks of the run stand still. Pausing twice is harmless.`,
  resumeExecution: `${TURN} Resuming what runs is harmless.`,
  cancelExecution: 'Answers at once, with `cancelRequestedAt`. Asking again, and of a finished one, is harmless.',
  addInput: `${TURN} A run ends when a turn is over and none waits.`,
  readFile:
    'A folder is answered as JSON, a file as its bytes. With an empty `path` it is the root. The `path` takes slashes, ' +
    'for which OpenAPI has no word: send each of its parts percent-encoded, and the slashes between them as they are.',
  writeFile:
    'The body is the content, whatever its content type. 201 when the file is new. The `path` takes slashes, for which ' +
    'OpenAPI has no word: send each of its parts percent-encoded, and the slashes between them as they are.',
  createKey:
    'The key of a token makes none: a token is short-lived, and what it made would not be. There are at most 1,000 keys ' +
    'of a tenant, and 10,000 in all.',
  revokeKey: 'Revoking one that is revoked is harmless.',
  issueToken: 'Asked for with a key, not with a token.',
  revokeToken: 'Revoking one that is revoked is harmless. It is remembered until the token would have ended by itself.',
  health: 'In detail for the operator: a key of the tenant `local` with the scope `admin`.',
  ready: 'In detail for the operator.',
  readAudit:
    'For the operator: entries of all tenants. With `Accept: application/x-ndjson` each entry is one line, as it is ' +
    'stored, up to the newest one; `limit` has no meaning then.',
  live: 'Says nothing about what it depends on.',
  docs: 'A browser may give the key as the password of HTTP Basic, with any user name.',
  openapi: 'A browser may give the key as the password of HTTP Basic, with any user name.',
  openrpc: 'A browser may give the key as the password of HTTP Basic, with any user name.',
};

/** What an answer that is no error says, by status. */
export const STATUS_TEXTS: Readonly<Record<number, string>> = {
  200: 'Done.',
  201: 'Made.',
  202: 'Stored, and not finished yet.',
  204: 'Done, and there is nothing to say.',
  503: 'It does not take work.',
};

export const EVENT_STREAM_TEXT =
  'An event stream (WHATWG HTML, section 9.2). Each event is one frame: `id` is its seq, `event` its type, `data` the ' +
  'whole event as JSON. `event: server.draining` with `{"drainMs": …}` has no id: the service is about to end, and ' +
  'runs go on for so long. Lines that start with a colon keep the connection alive. The stream ends after ' +
  '`execution.finished`; one that ends before is resumed with `Last-Event-ID`.';

export const OPENAPI_TEXT = `Runs the \`claude\` program as a supervised subprocess, with a numbered event log for every execution.

**Keys.** Every path needs a key or a token of it, except \`/\` and those under \`/health\`: \`Authorization: Bearer KEY\`,
or \`x-api-key: KEY\`, never in the URL. What a key lacks the scope for is 403 \`forbidden\`; what belongs to another
tenant is 404.

**Errors.** A refusal is \`application/problem+json\` (RFC 9457). Programs act on \`code\`; \`errors\` names wrong fields.
A run that fails is no error: it is an execution with an \`outcome\`. A path answers 405 to the methods it does not take.

**JSON.** Bodies are UTF-8 and sent uncompressed as \`application/json\`. Unknown fields and query parameters are refused,
and so are keys given twice, the key \`__proto__\`, and nesting beyond 64 levels. To answers, fields may be added.
Times are RFC 3339 UTC with milliseconds; durations end in \`Ms\`.

**Cursors.** Events of an execution are \`seq\` 1, 2, 3 … without gaps. Reading goes on after a seq: \`after\`, or
\`Last-Event-ID\` of an event stream. Lists go on with \`cursor\`.

**Repeating.** With an \`Idempotency-Key\` the same request again returns the execution of the first time.

The WebSocket at \`/v1/ws\` does the same by JSON-RPC; \`/v1/openrpc.json\` describes it.`;

export const OPENRPC_TEXT = `JSON-RPC 2.0 over a WebSocket at \`/v1/ws\` (also \`/ws\`): text frames, batches, notifications.

**Key** or token: in \`Authorization: Bearer\` or \`x-api-key\` of the opening request; or as the subprotocol
\`cc-executor.key.KEY\` or \`bearer.TOKEN\` offered beside \`cc-executor.v1\`; or by \`authenticate\` as the first call,
within 5 s. A connection whose key or token has ended is closed; \`authenticate\` with a fresh one of the same tenant keeps it.

**Events** of an execution arrive as \`event\` notifications after \`execute\` or \`subscribe\` is answered.
\`x-notifications\` are what the service sends by itself, \`x-close-codes\` why it closes.

**Errors.** \`error.data\` is \`ErrorData\`: its \`code\` is the same as over HTTP.`;
