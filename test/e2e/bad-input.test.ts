import { once } from 'node:events';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { ExecutionRequest } from '../../src/protocol/execution-request.ts';
import { type BuiltServer, builtServer } from '../support/built-server.ts';
import { JSON_CORPUS, shown, undecodable, type Verdict } from '../support/json-corpus.ts';
import { statusField } from '../support/processes.ts';
import { type RpcClient, rpcClient } from '../support/rpc-client.ts';
import type { Answer } from '../support/server.ts';

const MiB = 1024 * 1024;
const JSON_TYPE = { 'content-type': 'application/json' };
const FIELD_VALUES: readonly unknown[] = [
  ...[null, true, 0, -1, 1.5, 1e300, 2 ** 53, '', 'x', ' ', '\0', '-rf', [], [null], [[]], [''], {}, { a: 1 }],
  ...[{ '': '' }, { max: -1 }, { max: '1' }, { 'a b': 'c' }, { PATH: '/tmp' }, { LD_PRELOAD: 'x.so' }],
];

const WRONG_INSIDE: readonly [body: string, path: string][] = [
  ['{"prompt":"x","nonsense":1}', 'nonsense'],
  ['{"prompt":"x","retry":{"max":1,"min":0}}', 'retry.min'],
  ['{"prompt":"x","constructor":{"prototype":{"a":1}}}', 'constructor'],
  ['{"prompt":"x","prototype":{}}', 'prototype'],
  ['{"prompt":"x","toString":1}', 'toString'],
  ['{"prompt":"x","hasOwnProperty":true}', 'hasOwnProperty'],
  ['{"Prompt":"x"}', 'Prompt'],
  ['{"model":"x"}', 'prompt'],
  ['{"prompt":"x","tools":["Read",7]}', 'tools.1'],
  ['{"prompt":"x","env":{"constructor":1}}', 'env.constructor'],
  ['{"prompt":"x","metadata":{"a":{}}}', 'metadata.a'],
  ['{"prompt":"x","mcpServers":{"a b":{}}}', 'mcpServers.a b'],
  ['{"prompt":"x","maxBudgetUsd":1e999}', 'maxBudgetUsd'],
  [`{"prompt":"x","maxTurns":${'9'.repeat(400)}}`, 'maxTurns'],
  ['{"prompt":""}', 'prompt'],
  ['{"prompt":"a\\u0000b"}', 'prompt'],
  ['{"prompt":"\\ud800"}', 'prompt'],
  ['{"prompt":"\\udc00\\ud800"}', 'prompt'],
  [`{"prompt":"${'a'.repeat(4 * MiB + 1)}"}`, 'prompt'],
  [`{"prompt":"${'é'.repeat(2 * MiB)}a"}`, 'prompt'],
  ['[{"prompt":"x"}]', ''],
  ['"prompt"', ''],
  ['null', ''],
];

const NO_IDS = ['none', '0', '-1', '%00', '%2e%2e%2f', "'--", 'ＡＢＣ', '%F0%9F%98%80', 'a'.repeat(200)];

/** A service that a test does its worst to; `stillServes` says whether the same process came through it. */
async function target(): Promise<BuiltServer & { stillServes(): Promise<void> }> {
  const server = await builtServer();
  const { pid = 0 } = server.running.child;
  const megabytes = (): number => Number.parseInt(statusField(pid, 'VmRSS') ?? '', 10) / 1024;
  const before = megabytes();
  const stillServes = async (): Promise<void> => {
    expect((await server.run({ prompt: 'Say hello' })).outcome).toMatchObject({ kind: 'succeeded' });
    expect(server.running.child.exitCode).toBeNull();
    expect(megabytes() - before).toBeLessThan(400);
    expect(server.running.said().stderr).not.toContain('a request failed');
  };
  return { ...server, stillServes };
}

/** The problem document of a refusal, which has everything that one has. */
async function problemIn(response: Answer, status: number): Promise<ReturnType<typeof JSON.parse>> {
  const text = await response.text();
  expect([response.status, text.slice(0, 300)]).toEqual([status, expect.any(String)]);
  expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json\b/);
  const problem = JSON.parse(text);
  expect(problem).toMatchObject({ status, code: expect.stringMatching(/^[a-z_]+$/), title: expect.any(String) });
  expect(problem.requestId).toBe(response.headers.get('x-request-id'));
  expect(text.length).toBeLessThan(100_000);
  return problem;
}

function post({ call }: BuiltServer, body: string | Buffer, path = '/v1/executions'): Promise<Answer> {
  const bytes = typeof body === 'string' ? body : new Uint8Array(body).buffer;
  return call(path, { method: 'POST', body: bytes, headers: JSON_TYPE });
}

/** Sends a frame and waits for the next one. */
async function answerTo({ socket }: RpcClient, text: string): Promise<ReturnType<typeof JSON.parse>> {
  const answered = once(socket, 'message');
  socket.send(text);
  return JSON.parse(String((await answered)[0]));
}

function pathsIn(problem: { errors?: { path: string }[] }): string[] {
  return (problem.errors ?? []).map(({ path }) => path);
}

describe('what is no JSON, or no JSON that everybody reads alike', () => {
  const SAID: Record<Verdict, RegExp> = {
    broken: /^The body is not JSON: /,
    ambiguous: /^The JSON /,
    json: /^(?!The (body|JSON) )/,
  };

  test.each(['/v1/executions', '/v1/execute', '/v1/executions/none/input'])(
    'is refused by POST %s with a problem that says which of the two it is',
    async (path) => {
      const server = await target();
      for (const { verdict, text } of JSON_CORPUS) {
        const { code, detail } = await problemIn(await post(server, text, path), 400);
        expect([shown(text), code, detail]).toEqual([
          shown(text),
          'invalid_request',
          expect.stringMatching(SAID[verdict]),
        ]);
      }
      for (const [what, bytes] of undecodable('{"prompt":"x"}')) {
        const { detail } = await problemIn(await post(server, bytes, path), 400);
        expect([what, detail]).toEqual([what, expect.stringMatching(/^The body is not (UTF-8|JSON)/)]);
      }
      await server.stillServes();
    },
  );

  test('is refused by the WebSocket with the code for each, and the connection lives on', async () => {
    const server = await target();
    const client = await rpcClient(server.url, { key: server.key });
    for (const { verdict, text } of JSON_CORPUS) {
      const answer = [await answerTo(client, text)].flat()[0];
      const code = verdict === 'broken' ? -32700 : -32600;
      expect([shown(text), answer.error?.code, answer.id]).toEqual([shown(text), code, null]);
      if (verdict === 'ambiguous') expect(answer.error.data).toMatchObject({ code: 'invalid_request' });
    }
    expect((await client.call('ping')).result).toBeDefined();
    await server.stillServes();
  });

  test('a frame that is no UTF-8 ends its own connection only, with 1007', async () => {
    const server = await target();
    const other = await rpcClient(server.url, { key: server.key });
    const client = await rpcClient(server.url, { key: server.key });
    client.socket.send(Buffer.from([0x22, 0xff, 0x22]), { binary: false });
    expect((await client.closed).code).toBe(1007);
    expect((await other.call('ping')).result).toBeDefined();
  });

  test('every prefix of a request is refused', async () => {
    const server = await target();
    const client = await rpcClient(server.url, { key: server.key });
    const body = '{"prompt":"say \\"h\\u00e9\\"","tools":["Read"],"maxBudgetUsd":1.5e0,"metadata":{"a":"b"}}';
    const frame = `{"jsonrpc":"2.0","id":1,"method":"execute","params":${body}}`;
    for (let end = 0; end < body.length; end += 1) await problemIn(await post(server, body.slice(0, end)), 400);
    for (let end = 0; end < frame.length; end += 1) {
      expect((await answerTo(client, frame.slice(0, end))).error.code).toBe(-32700);
    }
    const { executions } = await (await server.call('/v1/executions')).json();
    expect(executions).toEqual([]);
  });
});

describe('a request that is JSON and wrong', () => {
  test('is refused with the path of the wrong field, alike over HTTP and the WebSocket', async () => {
    const server = await target();
    const client = await rpcClient(server.url, { key: server.key });
    let refused = 0;
    for (const [field, schema] of Object.entries(ExecutionRequest.shape)) {
      for (const value of FIELD_VALUES.filter((one) => !schema.safeParse(one).success)) {
        const params = { prompt: 'x', [field]: value };
        const problem = await problemIn(await post(server, JSON.stringify(params)), 400);
        const paths = pathsIn(problem);
        expect([params, paths]).toEqual([params, expect.arrayContaining([expect.stringMatching(`^${field}(\\.|$)`)])]);
        const { error } = await client.call('execute', params);
        expect([error.code, error.data.code, error.data.errors]).toEqual([-32602, problem.code, problem.errors]);
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(400);
    await server.stillServes();
  });

  test('is refused with the path of what is unknown, missing, or wrong inside a field', async () => {
    const server = await target();
    for (const [body, path] of WRONG_INSIDE) {
      const problem = await problemIn(await post(server, body), 400);
      expect([shown(body), pathsIn(problem)]).toEqual([shown(body), expect.arrayContaining([path])]);
    }
  });

  test('a __proto__ key is refused at every depth, and what looks like it changes no object', async () => {
    const server = await target();
    for (const field of ['outputSchema', 'metadata', 'env', 'mcpServers', 'retry']) {
      for (const inside of ['{"__proto__":{"a":"b"}}', '{"x":{"__proto__":{}}}', '{"x":[{"\\u005f_proto__":1}]}']) {
        const { detail } = await problemIn(await post(server, `{"prompt":"x","${field}":${inside}}`), 400);
        expect(detail).toContain('__proto__');
      }
      for (const key of ['constructor', 'prototype']) {
        const inside = `{"${key}":{"prototype":{"polluted":true},"type":"string"},"type":"object"}`;
        expect((await post(server, `{"prompt":"x","${field}":${inside}}`)).status).toBeLessThan(500);
      }
    }
    await server.stillServes();
  });
});

describe('a request that is huge', () => {
  test('is refused at 32 MiB, whether its length is declared or not', async () => {
    const server = await target();
    const body = 'x'.repeat(40 * MiB);
    await problemIn(await post(server, body), 413);
    const stream = new ReadableStream({
      start(controller) {
        for (let at = 0; at < 40; at += 1) controller.enqueue(new Uint8Array(MiB).fill(0x20));
        controller.close();
      },
    });
    const headers = { ...JSON_TYPE, authorization: `Bearer ${server.key}` };
    const chunked = { method: 'POST', body: stream, headers, duplex: 'half' as const };
    await problemIn(await fetch(`${server.url}/v1/executions`, chunked), 413);
    await server.stillServes();
  });

  test.each<[string, () => string]>([
    ['brackets', () => '['.repeat(15 * MiB) + ']'.repeat(15 * MiB)],
    ['brackets that are not closed', () => '['.repeat(30 * MiB)],
    ['empty objects', () => `[${'{},'.repeat(10 * MiB)}{}]`],
    ['wrong tools', () => `{"prompt":"x","tools":[${'1,'.repeat(15 * MiB)}1]}`],
    ['wrong tools within the number of values', () => `{"prompt":"x","tools":[${'1,'.repeat(49_000)}1]}`],
    ['wrong metadata', () => `{"prompt":"x","metadata":{${manyKeys(49_000)}}}`],
    ['unknown fields', () => `{${manyKeys(49_000)}}`],
    ['one field with a very long name', () => `{"prompt":"x","${'k'.repeat(30 * MiB)}":1}`],
    ['a server of tools with a very long name', () => `{"mcpServers":{"${'k'.repeat(30 * MiB)}":1}}`],
    ['a string of escapes', () => `{"prompt":"${'\\u0000'.repeat(5 * MiB)}"}`],
    ['backslashes', () => `{"prompt":"${'\\\\'.repeat(15 * MiB)}"}`],
    ['a long number', () => `{"maxTurns":${'9'.repeat(30 * MiB)}}`],
  ])('%s, as many as there is room for, are refused in few words', async (_, makeBody) => {
    const server = await target();
    const client = await rpcClient(server.url, { key: server.key });
    const body = makeBody();
    const problems = await Promise.all([1, 2, 3, 4].map(async () => problemIn(await post(server, body), 400)));
    expect(problems.map(({ code }) => code)).toEqual(Array(4).fill('invalid_request'));
    const answer = await answerTo(client, `{"jsonrpc":"2.0","id":1,"method":"execute","params":${body.slice(0, -1)}}`);
    expect(answer.error.code).toBeGreaterThanOrEqual(-32700);
    expect((await client.call('ping')).result).toBeDefined();
    await server.stillServes();
  });

  test('a body that would be unpacked is not', async () => {
    const server = await target();
    const plain = Buffer.concat([Buffer.from('{"prompt":"'), Buffer.alloc(100 * MiB, 'a'), Buffer.from('"}')]);
    const packed = { gzip: gzipSync(plain), deflate: deflateSync(plain), br: brotliCompressSync(Buffer.from('{}')) };
    for (const [encoding, body] of Object.entries(packed)) {
      for (const [method, path] of [
        ['POST', '/v1/executions'],
        ['POST', '/v1/execute'],
        ['POST', '/v1/executions/none/input'],
        ['PUT', '/v1/workspaces/w/files/a'],
        ['PUT', '/v1/workspaces/w/archive'],
      ] as const) {
        const headers = { ...JSON_TYPE, 'content-encoding': encoding };
        const response = await server.call(path, { method, body: new Uint8Array(body).buffer, headers });
        expect((await problemIn(response, 415)).code).toBe('unsupported_media_type');
      }
    }
    await server.stillServes();
  });
});

function manyKeys(count: number): string {
  return Array.from({ length: count }, (_, at) => `"k${at}":${at}`).join();
}

describe('a call in the wrong state, or of nothing', () => {
  test('of a finished execution is a conflict that names the state', async () => {
    const { run, call } = await target();
    const { id } = await run({ prompt: 'Say hello' });
    for (const [action, json] of [['pause'], ['resume'], ['input', { text: 'more' }]] as const) {
      const response = await call(`/v1/executions/${id}/${action}`, { method: 'POST', json });
      expect(await problemIn(response, 409)).toMatchObject({ code: 'conflict', state: 'finished' });
    }
  });

  test('of an id of nonsense is not found', async () => {
    const { call } = await target();
    for (const id of NO_IDS) {
      for (const [method, rest, json] of [
        ['GET', ''],
        ['DELETE', ''],
        ['GET', '/events'],
        ['GET', '/output'],
        ['POST', '/pause'],
        ['POST', '/resume'],
        ['POST', '/cancel'],
        ['POST', '/input', { text: 'x' }],
      ] as const) {
        const path = `/v1/executions/${id}${rest}`;
        expect((await problemIn(await call(path, { method, json }), 404)).code).toBe('not_found');
      }
    }
  });
});
