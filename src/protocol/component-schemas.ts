import { z } from 'zod';
import { AuditEntry, AuditPage } from './audit.ts';
import { EXECUTION_EXAMPLE, PROBLEM_EXAMPLE, REQUEST_EXAMPLE } from './contract-examples.ts';
import { FIELD_TEXTS } from './contract-texts.ts';
import { AuthStatus, CredentialStatus, NodeCredential } from './credential-status.ts';
import { EVENT_DATA, EVENT_TYPES, ExecutionEvent } from './events.ts';
import { Execution, ExecutionResult, ExecutionState, Outcome, Reason, Usage } from './execution.ts';
import { ExecutionRequest, MAX_PROMPT_BYTES, MAX_SYSTEM_PROMPT_BYTES } from './execution-request.ts';
import { HealthDetail, HealthState } from './health.ts';
import {
  EventPage,
  ExecutionPage,
  InputBody,
  Listing,
  UnpackedArchive,
  Welcome,
  WorkspaceEntry,
  WrittenFile,
} from './http-schemas.ts';
import {
  IssuedToken,
  KeyLimits,
  KeyList,
  MadeKey,
  NewKey,
  Revocation,
  Rotation,
  ServiceKey,
  TokenRequest,
} from './key-schemas.ts';
import { KEY_INPUT_TEXTS } from './key-texts.ts';
import { Problem } from './problem.ts';
import { OUTPUT_TEXTS, SCHEMA_TEXTS } from './schema-texts.ts';

export type JsonSchema = z.core.JSONSchema.BaseSchema;

/** `input`: what callers send, with unknown fields refused; `output`: what they get, to which fields may be added. */
type Direction = 'input' | 'output';

const COMPONENTS: Readonly<Record<Direction, Readonly<Record<string, z.ZodType>>>> = {
  input: { ExecutionRequest, InputBody, NewKey, KeyLimits, Rotation, TokenRequest, Revocation },
  output: {
    Execution,
    ExecutionState,
    Outcome,
    Reason,
    ExecutionResult,
    Usage,
    ExecutionPage,
    ExecutionEvent,
    EventPage,
    Listing,
    WorkspaceEntry,
    WrittenFile,
    UnpackedArchive,
    ServiceKey,
    MadeKey,
    KeyList,
    IssuedToken,
    AuthStatus,
    NodeCredential,
    CredentialStatus,
    AuditEntry,
    AuditPage,
    HealthState,
    HealthDetail,
    Welcome,
    Problem,
  },
};

const NAMES = new Map(
  Object.values(COMPONENTS).flatMap((named) => Object.entries(named).map(([name, schema]) => [schema, name])),
);

/** What a schema is called elsewhere does not turn it into a reference here. */
const NO_NAMES = z.registry<{ id?: string }>();

const TEXTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  ExecutionRequest: FIELD_TEXTS,
  InputBody: { text: 'What the user says next: 1 byte to 4 MiB of UTF-8.' },
  ...KEY_INPUT_TEXTS,
  ...OUTPUT_TEXTS,
};

const NO_NUL = '^[^\\x00]*$';
/** Checks that zod makes in code, as far as JSON Schema has words for them: it counts characters, not bytes. */
const CHECKS: Readonly<Record<string, Readonly<Record<string, JsonSchema>>>> = {
  ExecutionRequest: {
    prompt: { maxLength: MAX_PROMPT_BYTES, pattern: NO_NUL },
    systemPrompt: { maxLength: MAX_SYSTEM_PROMPT_BYTES, pattern: NO_NUL },
    appendSystemPrompt: { maxLength: MAX_SYSTEM_PROMPT_BYTES, pattern: NO_NUL },
    env: { additionalProperties: { type: 'string', maxLength: 32_768, pattern: NO_NUL } },
    metadata: { maxProperties: 16 },
    approvals: { enum: ['deny'] },
  },
  InputBody: { text: { maxLength: MAX_PROMPT_BYTES, pattern: NO_NUL } },
};

const EXAMPLES: Readonly<Record<string, unknown>> = {
  ExecutionRequest: REQUEST_EXAMPLE,
  Execution: EXECUTION_EXAMPLE,
  Problem: PROBLEM_EXAMPLE,
};

export function refTo(name: string): { $ref: string } {
  return { $ref: `#/components/schemas/${name}` };
}

/** The named schemas of the contract, as both documents hold them under `components.schemas`. */
export function componentSchemas(): Record<string, JsonSchema> {
  return { ...named('input'), ...named('output') };
}

/** A schema as it stands in a document: a reference where it has a name, itself where it has none. */
export function schemaOf(schema: z.ZodType, io: Direction): JsonSchema {
  const name = NAMES.get(schema);
  return name === undefined ? inlineSchema(schema, io) : refTo(name);
}

function inlineSchema(schema: z.ZodType, io: Direction): JsonSchema {
  return withoutDialect(z.toJSONSchema(schema, { io, metadata: NO_NAMES, override: tidy(io) }));
}

function named(io: Direction): Record<string, JsonSchema> {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(COMPONENTS[io])) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, { io, uri: (id) => refTo(id).$ref, override: tidy(io) });
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, described(name, schema)]));
}

function described(name: string, schema: JsonSchema): JsonSchema {
  const { properties, ...rest } = withoutDialect(schema);
  const description = SCHEMA_TEXTS[name];
  const fields = Object.entries(properties ?? {}).map(([field, type]) => [
    field,
    { ...(type === true ? {} : type), ...CHECKS[name]?.[field], ...format(field), description: TEXTS[name]?.[field] },
  ]);
  return {
    ...rest,
    ...(description === undefined ? {} : { description }),
    ...(properties === undefined ? {} : { properties: Object.fromEntries(fields) }),
    ...(name in EXAMPLES ? { examples: [EXAMPLES[name]] } : {}),
    ...(name === 'ExecutionEvent' ? { 'x-event-data': eventData() } : {}),
  };
}

/** Times are RFC 3339. */
function format(field: string): JsonSchema {
  return field === 'time' || /[a-z]At$/.test(field) ? { format: 'date-time' } : {};
}

function eventData(): Record<string, JsonSchema> {
  return Object.fromEntries(EVENT_TYPES.map((type) => [type, inlineSchema(EVENT_DATA[type], 'output')]));
}

/** The document says which dialect it is in, and where its schemas stand. */
function withoutDialect({ $schema: _dialect, $id: _id, ...schema }: JsonSchema): JsonSchema {
  return schema;
}

/** Leaves out what says nothing, and, of what callers get, what would forbid that fields are added. */
function tidy(io: Direction): (context: { jsonSchema: JsonSchema }) => void {
  return ({ jsonSchema }) => {
    const { propertyNames } = jsonSchema;
    if (typeof propertyNames === 'object' && Object.keys(propertyNames).join() === 'type') {
      delete jsonSchema.propertyNames;
    }
    if (jsonSchema.pattern !== undefined) jsonSchema.pattern = portable(jsonSchema.pattern);
    if (io === 'input') return;
    if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  };
}

/** JSON Schema asks for patterns that every language takes; control characters have a name in few of them. */
function portable(pattern: string): string {
  return pattern.replaceAll('\\p{Cc}', '\\x00-\\x1f\\x7f-\\x9f');
}
