import { expect, test } from 'vitest';
import { ERRORS } from '../../src/protocol/errors.ts';
import { openRpc } from '../../src/protocol/openrpc.ts';
import { CLOSE_CODES, RPC_METHODS, RPC_NOTIFICATIONS, type RpcMethod } from '../../src/protocol/rpc-methods.ts';

const document = openRpc('1.2.3');
const methods: [string, RpcMethod][] = Object.entries(RPC_METHODS);

test('every method stands in the document once, in the order of the table', () => {
  expect(document.methods.map(({ name }) => name)).toEqual(Object.keys(RPC_METHODS));
  expect([document.openrpc, document.info.version]).toEqual(['1.3.2', '1.2.3']);
});

test.each(methods)(
  '%s has its params in the order of their positions, each with its schema and meaning',
  (name, { params }) => {
    const described = document.methods.find((method) => method.name === name);
    expect(described?.params.map((param) => param.name)).toEqual(Object.keys(params.shape));
    expect(described?.paramStructure).toBe('either');
    const required = Object.entries(params.shape).flatMap(([param, schema]) =>
      schema.safeParse(undefined).success ? [] : [param],
    );
    expect(described?.params.filter((param) => param.required).map((param) => param.name)).toEqual(required);
    expect(
      described?.params.filter(({ schema, description }) => Object.keys(schema).length === 0 || !description),
    ).toEqual([]);
  },
);

test.each(methods)('%s names its own errors and those of JSON-RPC', (name, { errors }) => {
  const described = document.methods.find((method) => method.name === name);
  const names = described?.errors.map(({ $ref }) => $ref.replace('#/components/errors/', '')) ?? [];
  const found = names.map((error) => document.components.errors[error]);
  const codes = found.map((error) => (error !== undefined && 'code' in error ? error.code : undefined));
  expect(codes).toEqual(
    expect.arrayContaining([-32700, -32600, -32601, -32602, -32603, ...errors.map((code) => ERRORS[code].rpc)]),
  );
  expect(new Set(codes).size).toBe(codes.length);
});

test('an error says what programs act on: the code and whether to try again', () => {
  expect(document.components.errors.queue_full).toEqual({
    code: 1007,
    message: ERRORS.queue_full.title,
    data: { code: 'queue_full', retryable: true },
  });
  expect(document['x-error-data']).toEqual({ $ref: '#/components/schemas/ErrorData' });
  expect(Object.keys(document.components.schemas.ErrorData?.properties ?? {})).toEqual([
    'retryable',
    'code',
    'errors',
    'retryAfterMs',
    'firstSeq',
    'lastSeq',
    'state',
    'scope',
  ]);
});

test('every reference leads to something in the document', () => {
  const targets = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)];
  expect(targets.length).toBeGreaterThan(10);
  const { schemas, errors } = document.components;
  const known = new Set([
    ...Object.keys(schemas).map((name) => `schemas/${name}`),
    ...Object.keys(errors).map((name) => `errors/${name}`),
  ]);
  expect(targets.filter(([, kind, name]) => !known.has(`${kind}/${name}`))).toEqual([]);
});

test('every notification and every close code of the service stands in the document', () => {
  expect(document['x-notifications'].map(({ name }) => name)).toEqual(Object.keys(RPC_NOTIFICATIONS));
  expect(document['x-close-codes'].map(({ code }) => code)).toEqual(Object.values(CLOSE_CODES).map(({ code }) => code));
});
