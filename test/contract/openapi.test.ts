import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, test } from 'vitest';
import { EXECUTION_EXAMPLE, PROBLEM_EXAMPLE, REQUEST_EXAMPLE } from '../../src/protocol/contract-examples.ts';
import { ERRORS } from '../../src/protocol/errors.ts';
import { ExecutionRequest } from '../../src/protocol/execution-request.ts';
import { ANY_ROUTE, type HttpRoute } from '../../src/protocol/http-route.ts';
import { HTTP_ROUTES } from '../../src/protocol/http-routes.ts';
import { type OpenApi, openApi } from '../../src/protocol/openapi.ts';
import { isScope } from '../../src/protocol/scopes.ts';

const document = openApi('1.2.3');
const routes: [string, HttpRoute][] = Object.entries(HTTP_ROUTES);
const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));

/** Says of a value whether it matches a named schema of the document, as a client's own validator would. */
function validator(name: string): (value: unknown) => boolean {
  const ajv = new Ajv2020({ strict: false, formats: { 'date-time': true } });
  ajv.addSchema({ $id: 'https://example.org/document', ...structuredClone(document) });
  return (value) => ajv.validate(`https://example.org/document#/components/schemas/${name}`, value);
}

function refsIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === '$ref' && typeof inner === 'string' ? [inner] : refsIn(inner),
  );
}

function operationOf(name: string): OpenApi['paths'][string][string] {
  const found = operations.find(({ operationId }) => operationId === name);
  if (found === undefined) throw new Error(`the document has no operation ${name}`);
  return found;
}

test('the document is valid OpenAPI 3.1', async () => {
  const { valid, errors } = await new Validator().validate({ ...structuredClone(document) });
  expect({ valid, errors }).toEqual({ valid: true, errors: undefined });
  expect([document.openapi, document.info.version]).toEqual(['3.1.1', '1.2.3']);
});

test('every reference leads to something in the document', () => {
  const targets = [...new Set(refsIn(document))];
  expect(targets.length).toBeGreaterThan(10);
  const broken = targets.filter((target) => {
    const steps = target.replace(/^#\//, '').split('/');
    return (
      steps.reduce<unknown>((at, step) => Object.entries(at ?? {}).find(([key]) => key === step)?.[1], document) ===
      undefined
    );
  });
  expect(broken).toEqual([]);
});

test('every route is one operation, named like the route', () => {
  const names = operations.map(({ operationId }) => operationId);
  expect([...names].sort()).toEqual(Object.keys(HTTP_ROUTES).sort());
});

test.each(routes)('%s stands with its path, its method and every status that it can answer', (name, route) => {
  const { responses } = operationOf(name);
  expect(document.paths[route.path]?.[route.method.toLowerCase()]?.operationId).toBe(name);
  const refused = [...route.errors, ...(route.access === 'open' ? [] : ANY_ROUTE), 'internal' as const];
  const statuses = [...Object.keys(route.responses), ...refused.map((code) => String(ERRORS[code].http))];
  expect(Object.keys(responses)).toEqual(expect.arrayContaining(statuses));
  for (const code of refused) {
    const answer = responses[String(ERRORS[code].http)];
    expect(answer?.description).toContain(`\`${code}\``);
    expect(answer?.content?.['application/problem+json']?.schema).toEqual({ $ref: '#/components/schemas/Problem' });
  }
});

test.each(routes)(
  '%s names every parameter of its path, its query and its headers, and says what it means',
  (name, route) => {
    const { parameters = [] } = operationOf(name);
    const wanted = [
      ...Object.keys(route.params?.shape ?? {}),
      ...Object.keys(route.query?.shape ?? {}),
      ...(route.headers ?? []),
    ];
    expect(parameters.map((parameter) => parameter.name.toLowerCase())).toEqual(wanted.map((one) => one.toLowerCase()));
    expect(parameters.filter(({ description }) => description === '')).toEqual([]);
    const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
    expect(
      parameters.filter((parameter) => parameter.in === 'path' && parameter.required).map((one) => one.name),
    ).toEqual(inPath);
  },
);

test('a key is asked for with the scope that it needs, and is optional where it makes an answer longer', () => {
  expect(document.security).toEqual([{ bearerAuth: [] }, { apiKey: [] }]);
  const own = Object.fromEntries(
    operations.flatMap(({ operationId, security }) => (security === undefined ? [] : [[operationId, security]])),
  );
  const optional = [{}, { bearerAuth: [] }, { apiKey: [] }];
  const scoped = routes.flatMap(([name, { access }]) =>
    isScope(access) ? [[name, [{ bearerAuth: [access] }, { apiKey: [access] }]]] : [],
  );
  expect(own).toEqual({ ...Object.fromEntries(scoped), health: optional, live: [], ready: optional, root: [] });
});

test('the headers that a client acts on are told: where the execution is, and when to try again', () => {
  const { responses } = operationOf('createExecution');
  expect(Object.keys(responses['202']?.headers ?? {})).toEqual(['X-Request-Id', 'Location']);
  expect(Object.keys(responses['503']?.headers ?? {})).toEqual(['X-Request-Id', 'Retry-After']);
  expect(Object.keys(responses['400']?.headers ?? {})).toEqual(['X-Request-Id']);
});

test('an event stream is text whose frames are described, and names the schema of its events', () => {
  const content = operationOf('readEvents').responses['200']?.content ?? {};
  expect(content['application/json']?.schema).toEqual({ $ref: '#/components/schemas/EventPage' });
  expect(content['text/event-stream']).toMatchObject({
    schema: { type: 'string', description: expect.stringContaining('server.draining') },
    'x-event-schema': { $ref: '#/components/schemas/ExecutionEvent' },
  });
});

test.each([
  ['ExecutionRequest', REQUEST_EXAMPLE],
  ['Execution', EXECUTION_EXAMPLE],
  ['Problem', PROBLEM_EXAMPLE],
])('the example of %s matches its schema, and stands there', (name, example) => {
  expect(validator(name)(example)).toBe(true);
  expect(document.components.schemas[name]?.examples).toEqual([example]);
});

test('fields may be added to what callers get, and are refused in what they send', () => {
  expect(validator('Execution')({ ...EXECUTION_EXAMPLE, added: 1 })).toBe(true);
  expect(validator('Problem')({ ...PROBLEM_EXAMPLE, added: 1 })).toBe(true);
  expect(validator('ExecutionRequest')({ ...REQUEST_EXAMPLE, added: 1 })).toBe(false);
});

test.each<[string, object]>([
  ['an empty prompt', { prompt: '' }],
  ['a NUL character in a prompt', { prompt: 'a\0b' }],
  ['a prompt that is too long', { prompt: 'x'.repeat(4 * 1024 * 1024 + 1) }],
  ['a NUL character in a system prompt', { systemPrompt: '\0' }],
  ['a control character in a tool rule', { allowedTools: ['Bash(\x1b)'] }],
  ['a flag as a model', { model: '--help' }],
  ['a bad name of a variable', { env: { 'A B': 'x' } }],
  ['a NUL character in a variable', { env: { A: '\0' } }],
  ['a bad name of an MCP server', { mcpServers: { 'a b': {} } }],
  [
    'more metadata than is taken',
    { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, ''])) },
  ],
])('the document refuses what the service refuses: %s', (_what, fields) => {
  const request = { prompt: 'Say hello', ...fields };
  expect(ExecutionRequest.safeParse(request).success).toBe(false);
  expect(validator('ExecutionRequest')(request)).toBe(false);
});

test('the fields whose capability is not built yet say so', () => {
  const { properties = {} } = document.components.schemas.ExecutionRequest ?? {};
  const unbuilt = Object.entries(properties).flatMap(([name, schema]) =>
    typeof schema === 'object' && schema.description?.includes('`not_implemented`') ? [name] : [],
  );
  expect(unbuilt).toEqual(['approvals']);
});

test('every field of every named schema says what it means', () => {
  const silent = Object.entries(document.components.schemas).flatMap(([name, { description, properties = {} }]) => [
    ...(description === undefined ? [name] : []),
    ...Object.entries(properties).flatMap(([field, schema]) =>
      typeof schema === 'object' && schema.description !== undefined ? [] : [`${name}.${field}`],
    ),
  ]);
  expect(silent).toEqual([]);
});
