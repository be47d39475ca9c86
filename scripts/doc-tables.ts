import { componentSchemas, type JsonSchema, schemaOf } from '../src/protocol/component-schemas.ts';
import {
  ERROR_TEXTS,
  EVENT_TEXTS,
  FIELD_TEXTS,
  OUTCOME_TEXTS,
  REASON_TEXTS,
  STATE_TEXTS,
} from '../src/protocol/contract-texts.ts';
import { ERRORS } from '../src/protocol/errors.ts';
import { EVENT_DATA, EVENT_TYPES } from '../src/protocol/events.ts';
import { EXECUTION_STATES, OUTCOME_KINDS, REASONS } from '../src/protocol/execution.ts';
import type { HttpRoute } from '../src/protocol/http-route.ts';
import { HTTP_ROUTES } from '../src/protocol/http-routes.ts';
import { CLOSE_CODES, RPC_METHODS, RPC_NOTIFICATIONS, type RpcMethod } from '../src/protocol/rpc-methods.ts';
import { fieldsOf, nameIn, typeOf } from '../src/protocol/schema-words.ts';
import { type Access, isScope, SCOPE_TEXTS, SCOPES } from '../src/protocol/scopes.ts';
import { SETTINGS } from '../src/settings.ts';

/** The generated parts of the documents, by the name that their markers carry. */
export const TABLES: Readonly<Record<string, () => string>> = {
  settings: () =>
    table(
      ['variable', 'example or default', 'meaning'],
      Object.entries(SETTINGS).map(([name, { example, help }]) => [
        code(name),
        example === '' ? '' : code(example),
        help,
      ]),
    ),
  errors: () =>
    table(
      ['code', 'HTTP', 'JSON-RPC', 'retry', 'meaning'],
      Object.entries(ERRORS).map(([name, { http, rpc, retryable, title }]) => [
        code(name),
        `${http}`,
        `${rpc}`,
        retryable ? 'yes' : 'no',
        `${title}; ${lookUp(ERROR_TEXTS, name)}`,
      ]),
    ),
  request: () => {
    const rows = fieldsOf(componentSchemas().ExecutionRequest ?? {}).map(({ name, required, schema }) => [
      code(name) + (required ? ' (required)' : ''),
      typeOf(schema, code),
      schema.default === undefined ? '' : code(JSON.stringify(schema.default)),
      lookUp(FIELD_TEXTS, name),
    ]);
    return table(['field', 'type', 'default', 'meaning'], rows);
  },
  routes: () =>
    table(
      ['route', 'what it does', 'scope', 'answers', 'errors of its own'],
      Object.values(HTTP_ROUTES).map(({ method, path, summary, access, responses, errors }: HttpRoute) => [
        code(`${method} ${path}`),
        `${summary}.`,
        accessText(access),
        Object.keys(responses).join(', '),
        codes(errors),
      ]),
    ),
  methods: () =>
    table(
      ['method', 'params', 'result', 'what it does', 'scope', 'errors of its own'],
      Object.entries(RPC_METHODS).map(([name, { params, result, summary, access, errors }]: [string, RpcMethod]) => [
        code(name),
        name === 'execute' ? 'the execution request' : namesOf(schemaOf(params, 'input')),
        namesOf(schemaOf(result, 'output')),
        `${summary}.`,
        accessText(access),
        codes(errors),
      ]),
    ),
  scopes: () =>
    table(
      ['scope', 'what it is for'],
      SCOPES.map((scope) => [code(scope), SCOPE_TEXTS[scope]]),
    ),
  notifications: () =>
    table(
      ['notification', 'params', 'meaning'],
      Object.entries(RPC_NOTIFICATIONS).map(([name, { summary, params }]) => [
        code(name),
        namesOf(schemaOf(params, 'output')),
        `${summary}.`,
      ]),
    ),
  closeCodes: () =>
    table(
      ['code', 'meaning'],
      Object.values(CLOSE_CODES).map(({ code: number, text }) => [code(`${number}`), text]),
    ),
  events: () =>
    table(
      ['type', 'data', 'meaning'],
      EVENT_TYPES.map((type) => [code(type), namesOf(schemaOf(EVENT_DATA[type], 'output')), EVENT_TEXTS[type]]),
    ),
  states: () =>
    table(
      ['state', 'meaning'],
      EXECUTION_STATES.map((state) => [code(state), STATE_TEXTS[state]]),
    ),
  outcomes: () =>
    table(
      ['kind', 'meaning'],
      OUTCOME_KINDS.map((kind) => [code(kind), OUTCOME_TEXTS[kind]]),
    ),
  reasons: () =>
    table(
      ['reason', 'meaning'],
      REASONS.map((reason) => [code(reason), REASON_TEXTS[reason]]),
    ),
};

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function code(text: string): string {
  return `\`${text}\``;
}

function accessText(access: Access): string {
  if (isScope(access)) return code(access);
  return access === 'any' ? 'any key' : 'no key';
}

function lookUp(texts: Readonly<Record<string, string>>, name: string): string {
  const text = texts[name];
  if (text === undefined) throw new Error(`src/protocol/contract-texts.ts says nothing about ${name}`);
  return text;
}

function codes(names: readonly string[]): string {
  return names.map(code).join(', ');
}

/** The names of an object's fields, or its own where it has one. */
function namesOf(schema: JsonSchema): string {
  if (schema.$ref !== undefined) return code(nameIn(schema.$ref));
  if (schema.properties === undefined) return 'object';
  const names = fieldsOf(schema).map(({ name, required }) => code(required ? name : `${name}?`));
  return names.length === 0 ? 'none' : names.join(', ');
}
