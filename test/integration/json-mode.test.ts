import { expect, it } from 'vitest';
import { executor } from '../support/executor.ts';

const SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  properties: { name: { type: 'string' }, sizes: { type: 'array', prefixItems: [{ type: 'integer' }], items: false } },
  required: ['name'],
  unevaluatedProperties: false,
};

const give = (output: Record<string, unknown>) => ({ kind: 'structured_output' as const, output });
const text = (words: string) => ({ kind: 'text' as const, text: words });

it('an output that matches a 2020-12 schema is the structured result', async () => {
  const { run } = await executor({ script: [give({ name: 'a', sizes: [1] }), text('done')] });
  const { execution } = await run({ prompt: 'x', outputSchema: SCHEMA });
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(execution.result?.structured).toEqual({ name: 'a', sizes: [1] });
});

it('an output that only 2020-12 rules refuse is repaired in the same session', async () => {
  const { run, model } = await executor({
    script: [give({ name: 'a', sizes: [1, 2] }), give({ name: 'b', sizes: [1] }), text('done')],
  });
  const { execution } = await run({ prompt: 'x', outputSchema: SCHEMA });
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(execution.result?.structured).toEqual({ name: 'b', sizes: [1] });
  expect(JSON.stringify(model.requests.at(-1)?.body)).toContain('does not match the schema');
});

it('without repair turns left the run is output_invalid, with the errors and the text', async () => {
  const { run } = await executor({ script: [give({ name: 'a', extra: 1 }), text('done')] });
  const { execution } = await run({ prompt: 'x', outputSchema: SCHEMA, repairTurns: 0 });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'output_invalid' });
  expect(execution.outcome?.message).toContain('unevaluated');
  expect(execution.result?.text).toContain('extra');
  expect(execution.result?.structured).toBeNull();
});

it('an output that never comes is output_invalid', async () => {
  const { run } = await executor({ script: [text('I would rather talk')] });
  const { execution } = await run({ prompt: 'x', outputSchema: SCHEMA });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'output_invalid' });
  expect(execution.outcome?.message).toContain('StructuredOutput');
  expect(execution.partialText).toContain('rather talk');
});

it('an output that stays wrong in every try of the program is output_invalid', async () => {
  const { run } = await executor({ script: [give({ name: 1 })] });
  const { execution } = await run({ prompt: 'x', outputSchema: SCHEMA, repairTurns: 1 });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'output_invalid' });
});

it('a schema whose top is no object is wrapped on the way and unwrapped in the result', async () => {
  const { run, model } = await executor({ script: [give({ value: [1, 2] }), text('done')] });
  const outputSchema = { type: 'array', items: { $ref: '#/$defs/n' }, $defs: { n: { type: 'number' } } };
  const { execution } = await run({ prompt: 'x', outputSchema });
  expect(execution.outcome).toMatchObject({ kind: 'succeeded' });
  expect(execution.result?.structured).toEqual([1, 2]);
  expect(JSON.stringify(model.requests[0]?.body)).toContain('StructuredOutput');
});

it('a schema that is none is refused before anything starts', async () => {
  const { start } = await executor();
  await expect(start({ prompt: 'x', outputSchema: { type: 'nonsense' } })).rejects.toMatchObject({
    code: 'invalid_request',
    data: { errors: [{ path: 'outputSchema' }] },
  });
});
