import { z } from 'zod';
import { SETTINGS } from '../src/config.ts';
import { ERRORS } from '../src/protocol/errors.ts';
import { EVENT_DATA, EVENT_TYPES } from '../src/protocol/events.ts';
import { EXECUTION_STATES, OUTCOME_KINDS, REASONS } from '../src/protocol/execution.ts';
import { ExecutionRequest } from '../src/protocol/execution-request.ts';
import { ERROR_TEXTS, EVENT_TEXTS, FIELD_TEXTS, OUTCOME_TEXTS, REASON_TEXTS, STATE_TEXTS } from './doc-texts.ts';

const JsonSchema = z.looseObject({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  enum: z.array(z.unknown()).optional(),
  default: z.unknown().optional(),
  get anyOf(): z.ZodOptional<z.ZodArray<typeof JsonSchema>> {
    return z.array(JsonSchema).optional();
  },
  get items(): z.ZodOptional<typeof JsonSchema> {
    return JsonSchema.optional();
  },
  required: z.array(z.string()).optional(),
  get properties(): z.ZodOptional<z.ZodRecord<z.ZodString, typeof JsonSchema>> {
    return z.record(z.string(), JsonSchema).optional();
  },
});
type JsonSchema = z.infer<typeof JsonSchema>;

const toJsonSchema = (schema: z.ZodType): JsonSchema => JsonSchema.parse(z.toJSONSchema(schema, { io: 'input' }));

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
    const { properties = {}, required = [] } = toJsonSchema(ExecutionRequest);
    const rows = Object.entries(properties).map(([name, schema]) => [
      code(name) + (required.includes(name) ? ' (required)' : ''),
      typeOf(schema),
      schema.default === undefined ? '' : code(JSON.stringify(schema.default)),
      lookUp(FIELD_TEXTS, name),
    ]);
    return table(['field', 'type', 'default', 'meaning'], rows);
  },
  events: () =>
    table(
      ['type', 'data', 'meaning'],
      EVENT_TYPES.map((type) => [code(type), dataOf(toJsonSchema(EVENT_DATA[type])), EVENT_TEXTS[type]]),
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

function lookUp(texts: Readonly<Record<string, string>>, name: string): string {
  const text = texts[name];
  if (text === undefined) throw new Error(`scripts/doc-texts.ts says nothing about ${name}`);
  return text;
}

function typeOf(schema: JsonSchema): string {
  if (schema.enum !== undefined) return schema.enum.map((value) => code(String(value))).join(' | ');
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' | ');
  if (schema.type === 'array') return `list of ${schema.items === undefined ? 'anything' : typeOf(schema.items)}`;
  return [schema.type ?? 'anything'].flat().join(' | ');
}

function dataOf({ properties, required = [] }: JsonSchema): string {
  if (properties === undefined) return 'object';
  const names = Object.keys(properties).map((name) => code(required.includes(name) ? name : `${name}?`));
  return names.length === 0 ? 'none' : names.join(', ');
}
