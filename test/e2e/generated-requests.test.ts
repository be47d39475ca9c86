import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { Pool } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import type { JsonSchema } from '../../src/protocol/component-schemas.ts';
import type { OpenApi } from '../../src/protocol/openapi.ts';
import type { Operation, Parameter } from '../../src/protocol/openapi-operation.ts';
import { type BuiltServer, builtServer } from '../support/built-server.ts';

const REQUESTS = 10_000;
const CONNECTIONS = 16;
const SEED = 20_260_101;
/** So much of an answer is read; what has no end, such as an event stream, is cut off there. */
const MAX_READ = 4 * 1024 * 1024;

interface Generated {
  method: string;
  path: string;
  operation: Operation;
  params: Record<string, string>;
  query: Record<string, string>;
  headers: Record<string, string>;
  body: Buffer | undefined;
  /** How the schema is broken; undefined where it is not. */
  broken: string | undefined;
  withKey: boolean;
  /** Which of the ids and names seen before is used instead of the generated one; below 0 for none. */
  reuse: number;
}

interface Answered {
  status: number;
  type: string;
  text: string;
  whole: boolean;
}

const JUNK = fc.oneof(
  fc.constantFrom(
    '',
    ' ',
    'x',
    '-1',
    '1e3',
    '0x10',
    '1.5',
    '99999999999999999999',
    'null',
    'true',
    '[]',
    '\u0000',
    '💥',
  ),
  fc.string({ maxLength: 20 }),
  fc.constant('a'.repeat(300)),
);
const JSON_VALUE = fc.jsonValue({ maxDepth: 2 });

/** Makes requests from an OpenAPI document, and judges answers by it. */
class Contract {
  readonly #document: OpenApi;
  readonly #ajv = new Ajv2020({ strict: false, formats: { 'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ } });

  constructor(document: OpenApi) {
    this.#document = document;
    this.#ajv.addSchema({ $id: 'https://example.org/document', ...structuredClone(document) });
  }

  operations(): [method: string, path: string, operation: Operation][] {
    return Object.entries(this.#document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]): [string, string, Operation] => [method, path, operation]),
    );
  }

  validator(schema: JsonSchema): ValidateFunction {
    const absolute = JSON.stringify(schema).replaceAll('"#/', '"https://example.org/document#/');
    return this.#ajv.compile(JSON.parse(absolute));
  }

  /** Values of a schema. */
  value(schema: JsonSchema | boolean): fc.Arbitrary<unknown> {
    if (typeof schema === 'boolean') return JSON_VALUE;
    if (schema.$ref !== undefined) return this.value(this.#named(schema.$ref));
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
    if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map((one) => this.value(one)));
    switch (schema.type) {
      case 'string':
        return text(schema);
      case 'integer':
        return fc.integer({ min: schema.minimum ?? -10, max: Math.min(schema.maximum ?? 1000, 2 ** 31 - 1) });
      case 'number':
        return fc.double({
          min: Number(schema.exclusiveMinimum ?? 0),
          minExcluded: true,
          max: schema.maximum ?? 1,
          noNaN: true,
        });
      case 'boolean':
        return fc.boolean();
      case 'array':
        return fc.array(this.value(schema.items === undefined || Array.isArray(schema.items) ? true : schema.items), {
          maxLength: 3,
        });
      case 'object':
        return this.#object(schema);
      default:
        return JSON_VALUE;
    }
  }

  #object({ properties = {}, required = [], additionalProperties, propertyNames }: JsonSchema): fc.Arbitrary<unknown> {
    if (Object.keys(properties).length > 0) {
      const fields = Object.fromEntries(Object.entries(properties).map(([name, type]) => [name, this.value(type)]));
      const all = fc.record<Record<string, unknown>>(fields, { requiredKeys: required });
      // The more fields, the likelier that one of them is refused for what no schema can say.
      const kept = fc.array(fc.constantFrom(...Object.keys(properties)), { maxLength: 3 });
      return fc.oneof(
        all,
        fc.tuple(all, kept).map(([value, names]) => only(value, [...required, ...names])),
      );
    }
    const names = typeof propertyNames === 'object' ? text(propertyNames) : fc.string({ minLength: 1, maxLength: 8 });
    return fc.dictionary(names, this.value(additionalProperties ?? true), { maxKeys: 3 });
  }

  #named(ref: string): JsonSchema {
    const found = this.#document.components.schemas[ref.replace('#/components/schemas/', '')];
    if (found === undefined) throw new Error(`the document has no ${ref}`);
    return found;
  }
}

function only(value: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([name]) => names.includes(name)));
}

function text({ pattern, minLength = 0, maxLength = 100 }: JsonSchema): fc.Arbitrary<string> {
  const [min, max] = [minLength, Math.min(maxLength, 100)];
  const free = fc.string({ minLength: min, maxLength: max, unit: 'grapheme' });
  const made = pattern === undefined || /^\^\[\^/.test(pattern) ? free : fc.stringMatching(new RegExp(pattern, 'u'));
  const allowed = new RegExp(pattern ?? '', 'u');
  return made.filter((one) => allowed.test(one) && [...one].length >= min && [...one].length <= maxLength);
}

/** A value of one field or parameter that its schema does not allow, as text. */
function wrongParameter(contract: Contract, { schema }: Parameter): fc.Arbitrary<string> {
  const valid = contract.validator(schema);
  const numeric = schema.type === 'integer';
  return JUNK.filter((junk) => !valid(numeric && /^-?\d+$/.test(junk) ? Number(junk) : junk));
}

function wrongBody(contract: Contract, schema: JsonSchema): fc.Arbitrary<Buffer> {
  const valid = contract.validator(schema);
  const changed = fc
    .tuple(
      contract.value(schema),
      fc.nat(),
      fc.oneof(JSON_VALUE, fc.constantFrom(-1, 1e300, '', [null], {})),
      fc.string(),
    )
    .map(([value, at, other, name]) => {
      const fields = Object.entries(value ?? {});
      const [field = name] = fields[at % (fields.length + 1)] ?? [];
      return { ...Object(value), [field]: other };
    });
  const values = fc.oneof(changed, JSON_VALUE).filter((value) => !valid(JSON.parse(JSON.stringify(value))));
  const cutOff = contract.value(schema).map((value) => Buffer.from(JSON.stringify(value).slice(0, -1)));
  return fc.oneof(
    { weight: 4, arbitrary: values.map((value) => Buffer.from(JSON.stringify(value))) },
    cutOff,
    fc.constant(Buffer.from([0xff])),
  );
}

/** Valid requests of an operation. */
function validRequest(
  contract: Contract,
  [method, path, operation]: [string, string, Operation],
): fc.Arbitrary<Generated> {
  const { parameters = [], requestBody } = operation;
  const place = (wanted: Parameter['in']): fc.Arbitrary<Record<string, string>> => {
    const chosen = parameters.filter((parameter) => parameter.in === wanted);
    const values = chosen.map(({ name, schema }) => [name, parameterValue(contract, name, schema)]);
    const requiredKeys = chosen.filter(({ required }) => required).map(({ name }) => name);
    return fc.record<Record<string, string>>(Object.fromEntries(values), { requiredKeys });
  };
  const json = requestBody?.content['application/json']?.schema;
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.constant(new Uint8Array(1024)));
  const body =
    json === undefined
      ? requestBody === undefined
        ? fc.constant(undefined)
        : bytes.map((one) => Buffer.from(one))
      : contract.value(json).map((value) => Buffer.from(JSON.stringify(value)));
  return fc
    .record({
      params: place('path'),
      query: place('query'),
      headers: place('header'),
      accept: fc.constantFrom(...Object.keys(operation.responses['200']?.content ?? {}), '*/*', 'nonsense'),
      body,
      withKey: fc.nat(40).map((one) => one > 0),
      reuse: fc.integer({ min: -1000, max: 999 }),
    })
    .map(({ accept, headers, ...rest }) => {
      const media = json === undefined ? 'application/x-tar' : 'application/json';
      const types = requestBody === undefined ? {} : { 'content-type': media };
      return { method, path, operation, ...rest, headers: { ...headers, ...types, accept }, broken: undefined };
    });
}

function parameterValue(contract: Contract, name: string, schema: JsonSchema): fc.Arbitrary<string> {
  if (name === 'waitMs') return fc.integer({ min: 0, max: 30 }).map(String);
  if (name === 'after' || name === 'Last-Event-ID') return fc.integer({ min: 0, max: 4 }).map(String);
  if (name === 'Idempotency-Key') return fc.oneof(fc.constantFrom('one', 'two'), fc.stringMatching(/^[!-~]{1,20}$/));
  if (name === 'path')
    return fc
      .array(fc.constantFrom('a', 'b.txt', 'é ü', '..', '%'), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join('/'));
  return contract
    .value(schema)
    .map(String)
    .filter((one) => one.isWellFormed() && one !== '.' && one !== '..');
}

/** Requests that are valid but for one thing. */
function brokenRequest(contract: Contract, target: [string, string, Operation]): fc.Arbitrary<Generated> {
  const valid = validRequest(contract, target).map((one) => ({ ...one, withKey: true }));
  const { parameters = [], requestBody } = target[2];
  const json = requestBody?.content['application/json']?.schema;
  const ways: fc.Arbitrary<Generated>[] = [
    fc.tuple(valid, fc.constantFrom('unknown', '__proto__', 'constructor', 'limit ', '')).map(([one, name]) => ({
      ...one,
      query: { ...one.query, [`${name}`]: '1' },
      broken: `query ${name}`,
    })),
    ...parameters
      .filter((parameter) => parameter.in === 'query')
      .map((parameter) =>
        fc.tuple(valid, wrongParameter(contract, parameter)).map(([one, junk]) => ({
          ...one,
          query: { ...one.query, [parameter.name]: junk },
          broken: `query ${parameter.name}`,
        })),
      ),
    ...parameters
      .filter((parameter) => parameter.in === 'header')
      .map((parameter) =>
        fc
          .tuple(
            valid,
            wrongParameter(contract, parameter).filter((junk) => /^[ -~]*$/.test(junk)),
          )
          .map(([one, junk]) => ({
            ...one,
            headers: { ...one.headers, [parameter.name]: junk },
            broken: `header ${parameter.name}`,
          })),
      ),
  ];
  if (json !== undefined) {
    ways.push(
      fc.tuple(valid, wrongBody(contract, json)).map(([one, body]) => ({ ...one, body, broken: 'body' })),
      fc
        .tuple(valid, fc.constantFrom('text/plain', 'application/xml', ';', 'application/json; charset=utf-16'))
        .map(([one, type]) => ({ ...one, headers: { ...one.headers, 'content-type': type }, broken: 'media type' })),
    );
  }
  return fc.oneof(...ways);
}

/** What earlier answers named, for later requests to name again; the latest are the likeliest to be there still. */
class Seen {
  readonly #ids: string[] = [];
  readonly #names: string[] = [];

  note(text: string): void {
    const { id, workspace } = JSON.parse(text);
    if (typeof id === 'string') this.#ids.unshift(id);
    if (typeof workspace === 'string') this.#names.unshift(workspace, 'shared');
  }

  urlOf({ path, params, query, reuse }: Generated): string {
    const known = (from: string[], made: string): string => (reuse < 0 ? made : (from[reuse % 30] ?? made));
    const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
      const made = params[name] ?? '';
      if (name === 'path') return made.split('/').map(encodeURIComponent).join('/');
      return encodeURIComponent(known(name === 'name' ? this.#names : this.#ids, made));
    });
    const pairs = Object.entries(query).map((pair) => pair.map(encodeURIComponent).join('='));
    return pairs.length === 0 ? filled : `${filled}?${pairs.join('&')}`;
  }
}

async function send(
  pool: Pool,
  url: string,
  { method, headers, body, withKey }: Generated,
  key: string,
): Promise<Answered> {
  const response = await pool.request({
    method: method.toUpperCase(),
    path: url,
    headers: { ...headers, ...(withKey ? { authorization: `Bearer ${key}` } : {}) },
    body: body ?? null,
  });
  const type = String(response.headers['content-type'] ?? '').replace(/;.*/, '');
  let [said, whole] = ['', true];
  for await (const chunk of response.body.setEncoding('utf8')) {
    said += chunk;
    whole = type !== 'text/event-stream' && said.length < MAX_READ;
    if (!whole) break;
  }
  return { status: response.statusCode, type, text: said, whole };
}

/** What is wrong with an answer, by the document; empty when nothing is. */
function judge(
  contract: Contract,
  validators: Map<string, ValidateFunction>,
  { request, answer }: { request: Generated; answer: Answered },
): string {
  const { operationId, responses } = request.operation;
  const { status, type } = answer;
  const documented = responses[status];
  if (documented === undefined) return 'a status that is not documented';
  const problem = wrongStatus(request, status);
  if (problem !== '') return problem;
  if (documented.content === undefined) return answer.text === '' ? '' : 'a body where none is documented';
  const media = documented.content[type];
  if (media === undefined) return `the content type ${type}, which is not documented`;
  if (!/^application\/(\S+\+)?json$/.test(type) || !answer.whole) return '';
  const name = `${operationId} ${status} ${type}`;
  const validate = validators.get(name) ?? contract.validator(media.schema);
  validators.set(name, validate);
  return validate(JSON.parse(answer.text)) ? '' : `a body of another schema: ${JSON.stringify(validate.errors)}`;
}

/** As the document says of all, or by itself; `{}` among the schemes makes the key optional. */
function needsKey({ security }: Generated['operation']): boolean {
  return security === undefined || (security.length > 0 && security.every((one) => Object.keys(one).length > 0));
}

function wrongStatus({ operation, broken, withKey }: Generated, status: number): string {
  if (status >= 500 && operation.operationId !== 'ready') return 'a failure of the service';
  if (!withKey && needsKey(operation) && status !== 401) return 'it takes no key';
  if (withKey && status === 401) return 'the key is not taken';
  return broken !== undefined && status < 300 ? `a success in spite of its ${broken}` : '';
}

async function sendAll(
  server: BuiltServer,
  contract: Contract,
  requests: readonly Generated[],
): Promise<{ wrong: string[]; statuses: Set<string> }> {
  const pool = new Pool(server.url, { connections: CONNECTIONS, pipelining: 1 });
  onTestFinished(() => pool.destroy());
  const [seen, validators, wrong, statuses] = [
    new Seen(),
    new Map<string, ValidateFunction>(),
    [] as string[],
    new Set<string>(),
  ];
  const waiting = requests.values();
  const worker = async (): Promise<void> => {
    for (const request of waiting) {
      const url = seen.urlOf(request);
      const answer = await send(pool, url, request, server.key);
      const { operationId } = request.operation;
      if (request.withKey) statuses.add(`${operationId} ${answer.status}`);
      if (answer.status < 300 && /^(create|execute|write|run)/.test(operationId) && answer.whole)
        seen.note(answer.text);
      const problem = judge(contract, validators, { request, answer });
      if (problem === '') continue;
      const sent = `${request.method} ${url.slice(0, 300)} ${JSON.stringify(request.headers)} ${String(request.body).slice(0, 300)}`;
      wrong.push(`${sent} → ${answer.status} ${answer.type} ${answer.text.slice(0, 300)}: ${problem}`);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  return { wrong, statuses };
}

test('10,000 requests made from the OpenAPI document, a third of them wrong, are answered as it says', async () => {
  const server = await builtServer({ env: { CLAUDE_BIN: '/nonexistent/claude', CC_QUEUE_LIMIT: '100000' } });
  const contract = new Contract(await (await server.call('/v1/openapi.json')).json());
  const targets = contract.operations();
  const any = targets.map((target) => ({
    weight: target[0] === 'delete' || target[2].tags.includes('service') ? 1 : 4,
    arbitrary: fc.oneof(
      { weight: 2, arbitrary: validRequest(contract, target) },
      { weight: 1, arbitrary: brokenRequest(contract, target) },
    ),
  }));
  const requests = fc.sample(fc.oneof(...any), { numRuns: REQUESTS, seed: SEED });
  const { wrong, statuses } = await sendAll(server, contract, requests);
  expect([wrong.length, wrong.slice(0, 10)]).toEqual([0, []]);
  // These succeed only where they meet a run, and here every run ends at once.
  const needRun = ['pauseExecution', 'resumeExecution', 'addInput'];
  const unmet = targets.filter(([, , { operationId, responses }]) => {
    const successes = Object.keys(responses).filter((status) => status < '300' || operationId === 'ready');
    return !successes.some((status) => statuses.has(`${operationId} ${status}`)) && !needRun.includes(operationId);
  });
  expect(unmet.map(([, , { operationId }]) => operationId)).toEqual([]);
  expect(server.running.child.exitCode).toBeNull();
});
