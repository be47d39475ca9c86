import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { ServiceError } from '../protocol/errors.ts';
import type { ResultMessage } from './messages.ts';

type Schema = Record<string, unknown>;

/** An output schema made ready: what the CLI is given, and how its answer is read and checked. */
export interface OutputContract {
  cliSchema: object;
  /** @returns the value, or what is wrong with it in words that a model can act on */
  read(result: ResultMessage): { value: unknown } | { problem: string };
}

const MAX_ERRORS = 20;

/**
 * Compiles an output schema (JSON Schema 2020-12; `format` is an annotation, as the standard has it).
 * @throws ServiceError `invalid_request` when it is no valid schema
 */
export function outputContract(schema: Schema): OutputContract {
  const validate = compile(schema);
  const wrapped = schema.type !== 'object';
  return {
    cliSchema: schemaForCli(schema),
    read(result) {
      const given = result.structured_output;
      if (given === undefined || given === null) {
        return { problem: 'No structured output was given: the StructuredOutput tool was not called.' };
      }
      const value = wrapped ? unwrap(given) : given;
      if (validate(value)) return { value };
      const errors = (validate.errors ?? []).slice(0, MAX_ERRORS);
      const lines = errors.map((error) => `${error.instancePath || 'the output'} ${error.message ?? error.keyword}`);
      return { problem: `The structured output does not match the schema: ${lines.join('; ')}.` };
    },
  };
}

function compile(schema: Schema): ReturnType<Ajv2020['compile']> {
  try {
    return new Ajv2020({ strict: false, validateFormats: false, allErrors: true, logger: false }).compile(schema);
  } catch (cause) {
    const message = `is not a valid JSON Schema: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new ServiceError('invalid_request', `outputSchema ${message}`, {
      cause,
      data: { errors: [{ path: 'outputSchema', message }] },
    });
  }
}

function unwrap(given: unknown): unknown {
  return typeof given === 'object' && given !== null && 'value' in given ? given.value : given;
}

/**
 * The schema in the form the CLI takes. Measured with 2.1.330: it validates with draft-07 rules in strict mode and
 * silently offers no tool at all when a schema does not compile, and the model API wants an object at the top. So
 * another top is wrapped as `{ value }`, and what draft-07 does not know is left out; the full schema is checked here
 * afterwards.
 */
export function schemaForCli(schema: Schema): object {
  const reduced = reduce(schema);
  const top = schema.type === 'object' && isObject(reduced) ? reduced : wrap(reduced);
  return compilesInDraft7(top) ? top : { type: 'object' };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function wrap(schema: unknown): object {
  const inner = isObject(schema) ? { ...schema, $id: 'urn:cc-executor:output' } : schema;
  return { type: 'object', properties: { value: inner }, required: ['value'], additionalProperties: false };
}

function compilesInDraft7(schema: object): boolean {
  try {
    new Ajv({ strict: true, strictTypes: false, strictTuples: false, validateFormats: false, logger: false }).compile(
      schema,
    );
    return true;
  } catch {
    // Any failure to compile means the CLI would drop the tool; the reason does not matter here.
    return false;
  }
}

const IN_MAPS = new Set(['properties', 'patternProperties', '$defs', 'definitions']);
const IN_SCHEMAS = new Set(['items', 'additionalProperties', 'contains', 'propertyNames']);
const IN_LISTS = new Set(['allOf', 'anyOf']);
/** Loosening what is inside these would make the whole stricter or another, so they stay only as they are. */
const ONLY_WHOLE = new Set(['not', 'oneOf', 'if', 'then', 'else']);
/** A 2020-12 keyword that changes what its neighbour means. */
const CHANGED_BY: Record<string, string> = { items: 'prefixItems', contains: 'minContains' };
const PLAIN = new Set(
  (
    '$ref title description default examples enum const type multipleOf maximum exclusiveMaximum minimum exclusiveMinimum ' +
    'maxLength minLength pattern maxItems minItems uniqueItems maxProperties minProperties required'
  ).split(' '),
);

function reduce(schema: unknown): unknown {
  if (!isObject(schema) || Array.isArray(schema)) return schema;
  const entries = Object.entries(schema);
  const whole = entries.every(([key, value]) => !ONLY_WHOLE.has(key) || isUnchanged(value));
  return Object.fromEntries(
    entries.flatMap(([key, value]): [string, unknown][] => {
      const other = CHANGED_BY[key];
      if (other !== undefined && Object.hasOwn(schema, other)) return [];
      if (ONLY_WHOLE.has(key)) return whole ? [[key, value]] : [];
      return reduceKeyword(key, value);
    }),
  );
}

function reduceKeyword(key: string, value: unknown): [string, unknown][] {
  if (PLAIN.has(key)) return [[key, value]];
  if (IN_SCHEMAS.has(key) && !Array.isArray(value)) return [[key, reduce(value)]];
  if (IN_LISTS.has(key) && Array.isArray(value)) return [[key, value.map(reduce)]];
  if (IN_MAPS.has(key) && isObject(value)) {
    return [[key, Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, reduce(inner)]))]];
  }
  return [];
}

function isUnchanged(value: unknown): boolean {
  const reduced = Array.isArray(value) ? value.map(reduce) : reduce(value);
  return JSON.stringify(reduced) === JSON.stringify(value);
}

/** The turn that asks for a better answer. */
export function repairPrompt(problem: string): string {
  return `${problem} Call the StructuredOutput tool once with a corrected output that matches the schema exactly.`;
}
