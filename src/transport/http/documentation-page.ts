import { schemaOf } from '../../protocol/component-schemas.ts';
import { REQUEST_EXAMPLE } from '../../protocol/contract-examples.ts';
import { ERROR_TEXTS, EVENT_TEXTS } from '../../protocol/contract-texts.ts';
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
import { EVENT_DATA, EVENT_TYPES } from '../../protocol/events.ts';
import { openApi } from '../../protocol/openapi.ts';
import { openRpc } from '../../protocol/openrpc.ts';
import { EVENT_STREAM_TEXT, OPENAPI_TEXT, OPENRPC_TEXT } from '../../protocol/route-texts.ts';
import { code, escaped, fieldTable, prose, section, sentence, table } from './documentation-html.ts';
import {
  documentedCloseCodes,
  documentedMethods,
  documentedNotifications,
  listedMethods,
} from './documentation-methods.ts';
import { documentedRoutes, documentedSchemas, listedRoutes } from './documentation-routes.ts';
import { STYLE } from './documentation-style.ts';

interface Chapter {
  id: string;
  title: string;
  /** What the table of contents lists below it. */
  listed?: string;
  body: string;
}

/** Both interfaces on one page, for people. It runs no script and asks for nothing from anywhere. */
export function documentationPage(version: string): string {
  const all = chapters(version);
  const contents = all.map(({ id, title, listed = '' }) => `<p><a href="#${id}">${escaped(title)}</a></p>${listed}`);
  const body = all.map((chapter) => section({ level: 2, id: chapter.id, title: escaped(chapter.title) }, chapter.body));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>CC Executor ${escaped(version)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>CC Executor <small>${escaped(version)}</small></h1>
<p>The same as documents for programs: <a href="/v1/openapi.json">OpenAPI</a> and
<a href="/v1/openrpc.json">OpenRPC</a>.</p>
<nav aria-label="Contents">
${contents.join('\n')}
</nav>
<main>
${body.join('\n')}
</main>
</body>
</html>
`;
}

function chapters(version: string): Chapter[] {
  const http = openApi(version);
  const rpc = openRpc(version);
  const { ErrorData = {} } = rpc.components.schemas;
  return [
    { id: 'calling', title: 'How to call it', body: `${prose(OPENAPI_TEXT)}\n${calls()}` },
    { id: 'routes', title: 'HTTP routes', listed: listedRoutes(http), body: documentedRoutes(http) },
    { id: 'streams', title: 'Event streams', body: prose(EVENT_STREAM_TEXT) },
    { id: 'websocket', title: 'WebSocket', body: prose(OPENRPC_TEXT) },
    { id: 'methods', title: 'JSON-RPC methods', listed: listedMethods(rpc), body: documentedMethods(rpc) },
    { id: 'notifications', title: 'JSON-RPC notifications', body: documentedNotifications(rpc) },
    { id: 'close-codes', title: 'WebSocket close codes', body: documentedCloseCodes(rpc) },
    { id: 'events', title: 'Events', body: events() },
    { id: 'errors', title: 'Errors', body: errors() },
    {
      id: 'schemas',
      title: 'Schemas',
      body: documentedSchemas({
        components: { ...http.components, schemas: { ...http.components.schemas, ErrorData } },
      }),
    },
  ];
}

function calls(): string {
  const request = JSON.stringify({ prompt: REQUEST_EXAMPLE.prompt, allowedTools: REQUEST_EXAMPLE.allowedTools });
  const shown = [
    '# Run a task and wait for its end',
    'curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\',
    `  -d '${request}' "$SERVER/v1/execute"`,
    '',
    '# Start it, and follow its events',
    'curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" -H "Idempotency-Key: task-1" \\',
    `  -d '${request}' "$SERVER/v1/executions"`,
    'curl -N -H "Authorization: Bearer $KEY" -H "Accept: text/event-stream" "$SERVER/v1/executions/$ID/events"',
  ];
  return `<pre>${escaped(shown.join('\n'))}</pre>`;
}

function events(): string {
  const rows = EVENT_TYPES.map((type) => {
    const data = schemaOf(EVENT_DATA[type], 'output');
    const fields = data.properties === undefined ? 'any object' : fieldTable(data);
    return [code(type), fields === '' ? 'nothing' : fields, sentence(EVENT_TEXTS[type])];
  });
  return table(['type', 'data', 'meaning'], rows);
}

function errors(): string {
  const rows = (Object.keys(ERRORS) as ErrorCode[]).map((name) => {
    const { http, rpc, retryable, title } = ERRORS[name];
    const text = sentence(`${title}; ${ERROR_TEXTS[name]}.`);
    return [code(name), `${http}`, `${rpc}`, retryable ? 'yes' : 'no', text];
  });
  return table(['code', 'HTTP', 'JSON-RPC', 'retry', 'meaning'], rows);
}
