import type { JsonSchema } from './component-schemas.ts';

export interface Field {
  name: string;
  required: boolean;
  schema: JsonSchema;
}

/** The fields of an object, in order. */
export function fieldsOf({ properties = {}, required = [] }: JsonSchema): Field[] {
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    required: required.includes(name),
    schema: typeof schema === 'boolean' ? {} : schema,
  }));
}

/**
 * What a value of a schema is, in a few words for people.
 * @param code sets a word as code
 */
export function typeOf(schema: JsonSchema, code: (text: string) => string): string {
  const { $ref, enum: values, const: only, anyOf, type, items } = schema;
  if ($ref !== undefined) return code(nameIn($ref));
  if (only !== undefined) return code(String(only));
  if (values !== undefined) return values.map((value) => code(String(value))).join(' | ');
  if (anyOf !== undefined) return anyOf.map((one) => typeOf(one, code)).join(' | ');
  if (type === 'array') return `list of ${isSchema(items) ? typeOf(items, code) : 'anything'}`;
  return [type ?? 'anything'].flat().join(' | ');
}

/** The name at the end of a reference. */
export function nameIn($ref: string): string {
  return $ref.slice($ref.lastIndexOf('/') + 1);
}

function isSchema(value: JsonSchema['items']): value is JsonSchema {
  return typeof value === 'object' && !Array.isArray(value);
}
