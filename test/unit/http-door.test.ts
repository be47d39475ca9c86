import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { HttpRoute } from '../../src/protocol/http-route.ts';
import { HTTP_ROUTES } from '../../src/protocol/http-routes.ts';
import { testServer } from '../support/server.ts';

interface Exchanged {
  status: number;
  /** The first line and the headers of the last answer, and everything after them. */
  head: string;
  body: string;
}

const BODY = '{"prompt":"x"}';
const JSON_TYPE = 'content-type: application/json';

async function open(url: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
  onTestFinished(() => void socket.destroy());
  // How it ends is told by what came before its end.
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Everything that comes until the service closes the connection. */
async function untilClosed(socket: Socket): Promise<string> {
  let said = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    said += text;
  });
  if (!socket.closed) await once(socket, 'close');
  return said;
}

/** Sends bytes as they are, and reads until the service closes the connection, which they must ask for. */
async function exchange(url: string, bytes: string): Promise<Exchanged> {
  const socket = await open(url);
  socket.write(bytes, 'latin1');
  return lastAnswer(await untilClosed(socket));
}

function lastAnswer(said: string): Exchanged {
  const answers = said.split(/(?=^HTTP\/1\.1 \d{3} )/m);
  const [head = '', ...body] = (answers.at(-1) ?? '').split('\r\n\r\n');
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), head, body: body.join('\r\n\r\n') };
}

/** A request by hand; `KEY` stands for the key. */
function request(line: string, headers: readonly string[] = [], body = ''): string {
  const sized = body === '' ? [] : [`content-length: ${Buffer.byteLength(body)}`];
  const all = ['host: localhost', 'authorization: Bearer KEY', 'connection: close', ...headers, ...sized];
  return `${line} HTTP/1.1\r\n${all.join('\r\n')}\r\n\r\n${body}`;
}

const post = (...headers: string[]): string => request('POST /v1/executions', headers, BODY);
const list = (query: string): string => request(`GET /v1/executions?${query}`);
const events = (query: string, ...headers: string[]): string =>
  request(`GET /v1/executions/x/events?${query}`, headers);

const REFUSED: Record<string, [status: number, bytes: string]> = {
  // What is no HTTP, or no request that two readers would cut at the same place.
  garbage: [400, '\x00\x01\x02 hello\r\n\r\n'],
  'a TLS greeting': [400, '\x16\x03\x01\x00\xa5\x01\x00\x00'],
  'HTTP/2': [400, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  'a method of nobody': [400, request('FOO /health')],
  'lines without a carriage return': [400, 'GET /health HTTP/1.1\nhost: x\n\n'],
  'no host': [400, 'GET /health HTTP/1.1\r\nconnection: close\r\n\r\n'],
  'two hosts': [400, request('GET /health', ['host: elsewhere'])],
  'a folded header': [400, request('GET /health', [' folded'])],
  'a header without a colon': [400, request('GET /health', ['nothing'])],
  'a length and chunks': [400, request('POST /v1/executions', ['transfer-encoding: chunked'], BODY)],
  'two lengths': [400, request('POST /v1/executions', [JSON_TYPE, 'content-length: 15'], BODY)],
  'a negative length': [400, request('POST /v1/executions', [JSON_TYPE, 'content-length: -5'])],
  'a length beyond all numbers': [400, request('POST /v1/executions', [`content-length: ${'9'.repeat(30)}`])],
  'a length beyond what is taken': [413, request('POST /v1/executions', [JSON_TYPE, 'content-length: 99999999999'])],
  'chunks that are none': [400, `${request('POST /v1/executions', [JSON_TYPE, 'transfer-encoding: chunked'])}zz\r\n`],
  'a header of 64 KB': [400, request('GET /health', [`x-long: ${'x'.repeat(65_536)}`])],
  '2,000 headers': [
    400,
    request(
      'GET /health',
      Array.from({ length: 2_000 }, (_, at) => `x-${at}: some value`),
    ),
  ],
  // Paths.
  'a path of 8,000 characters': [400, request(`GET /v1/executions/${'a'.repeat(8_000)}`)],
  'a path of 9,000 characters': [400, request(`GET /v1/executions/${'a'.repeat(9_000)}`)],
  'a percent sign alone': [400, request('GET /v1/executions/%')],
  'percent and no digits': [400, request('GET /v1/executions/%zz')],
  'percent-encoded bytes that are no UTF-8': [400, request('GET /v1/executions/%ff%fe')],
  'a percent-encoded surrogate': [400, request('GET /v1/workspaces/w/files/%ed%a0%80')],
  'a percent-encoded NUL': [404, request('GET /v1/executions/%00')],
  'a percent-encoded slash': [404, request('GET /v1/executions/a%2fb')],
  'dots in a path': [404, request('GET /v1/executions/../../etc/passwd')],
  'empty parts of a path': [404, request('GET //v1//executions')],
  'dots in the path of a file': [400, request('GET /v1/workspaces/w/files/%2e%2e/../etc/passwd')],
  'dots as a workspace': [404, request('GET /v1/workspaces/%2e%2e/files/x')],
  'another host without a key': [
    401,
    'GET http://a.example/v1/executions HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
  ],
  // Queries.
  ...Object.fromEntries(
    [
      'limit=0',
      'limit=-1',
      'limit=1001',
      'limit=1e3',
      'limit=1.5',
      'limit=',
      'limit',
      'limit=%zz',
      'limit=%00',
      'limit=0x10',
    ]
      .concat([`limit=${'9'.repeat(400)}`, 'limit=1&limit=1', 'limit[]=1', 'state=none', 'state=', 'outcome=Succeeded'])
      .concat(['sessionId=1', 'cursor=x', 'a=1', '=1', '&&=&', '__proto__=1', 'constructor=1', 'toString', 'LIMIT=1'])
      .map((query): [string, [number, string]] => [query.slice(0, 40), [400, list(query)]]),
  ),
  ...Object.fromEntries(
    [
      'after=-1',
      'after=99999999999999999999',
      'after=a',
      'limit=0',
      'waitMs=600001',
      'waitMs=-1',
      'waitMs=1s',
      'x=1',
    ].map((query): [string, [number, string]] => [`events ${query}`, [400, events(query)]]),
  ),
  'a query where none is taken': [400, request('GET /health?x=1')],
  // Headers.
  ...Object.fromEntries(
    ['', 'abc', '-1', '1.5', '1e3', '99999999999999999999', '1, 2', '\xff'].map((id): [string, [number, string]] => [
      `Last-Event-ID ${id}`,
      [400, events('', `last-event-id: ${id}`)],
    ]),
  ),
  'two Last-Event-IDs': [400, events('', 'last-event-id: 1', 'last-event-id: 2')],
  'an empty idempotency key': [400, post(JSON_TYPE, 'idempotency-key: ')],
  'an idempotency key of 256 characters': [400, post(JSON_TYPE, `idempotency-key: ${'k'.repeat(256)}`)],
  'an idempotency key with a control character': [400, post(JSON_TYPE, 'idempotency-key: a\x01b')],
  'no content type': [415, post()],
  ...Object.fromEntries(
    ['text/plain', '*/*', ';;;', 'json', 'application/json; charset=utf-16', 'application/json; charset=latin1']
      .concat(['application/jsonx', 'application/json, text/plain', 'multipart/form-data; boundary=x'])
      .map((type): [string, [number, string]] => [`content type ${type}`, [415, post(`content-type: ${type}`)]]),
  ),
  'two content types': [415, post(JSON_TYPE, 'content-type: text/plain')],
  'a content type of nothing without a key': [401, post('content-type: ;;;').replace('KEY', 'wrong')],
  'a content type of nothing where no body is read': [
    404,
    request('POST /v1/executions/x/pause', ['content-type: ;'], '{}'),
  ],
  ...Object.fromEntries(
    ['gzip', 'deflate', 'br', 'GZIP', 'identity, gzip', 'nonsense'].map((one): [string, [number, string]] => [
      `coding ${one}`,
      [415, post(JSON_TYPE, `content-encoding: ${one}`)],
    ]),
  ),
  'a key of 5,000 characters': [401, request('GET /v1/executions').replace('KEY', 'k'.repeat(5_000))],
  'a page of another origin': [403, request('GET /v1/executions', ['origin: https://evil.example'])],
  'a page of no origin': [403, request('GET /v1/executions', ['origin: null'])],
};

describe('a request that is refused', () => {
  test('is answered with a problem document whose status says why, and the service goes on', async () => {
    const { url, key, call } = await testServer();
    for (const [what, [status, bytes]] of Object.entries(REFUSED)) {
      const { head, body, ...answer } = await exchange(url, bytes.replace('KEY', key));
      expect([what, answer.status]).toEqual([what, status]);
      expect([what, head]).toEqual([what, expect.stringMatching(/^content-type: application\/problem\+json/im)]);
      const problem = JSON.parse(body);
      expect([what, problem]).toEqual([what, expect.objectContaining({ status, code: expect.any(String) })]);
      expect(problem.requestId).toBe(/^x-request-id: (.*)$/im.exec(head)?.[1] ?? 'none');
      expect(body.length).toBeLessThan(2_000);
    }
    expect(await (await call('/v1/executions')).json()).toEqual({ executions: [], nextCursor: null });
  });

  test('for its method names those that the path takes', async () => {
    const { url, key } = await testServer();
    const routes: readonly HttpRoute[] = Object.values(HTTP_ROUTES);
    for (const path of new Set(routes.map((route) => route.path))) {
      const taken = routes.filter((route) => route.path === path).map(({ method }) => method);
      const filled = path.replace(/\{\w+\}/g, 'x');
      for (const method of ['TRACE', 'PATCH', 'OPTIONS', 'PROPFIND', 'QUERY', 'PUT', 'DELETE', 'HEAD']) {
        if (taken.some((one) => one === method || (method === 'HEAD' && one === 'GET'))) continue;
        const { status, head } = await exchange(url, request(`${method} ${filled}`).replace('KEY', key));
        expect([method, path, status]).toEqual([method, path, 405]);
        expect(/^allow: (.*)$/im.exec(head)?.[1]?.split(', ')).toEqual(expect.arrayContaining(taken));
      }
      if (!taken.includes('GET')) continue;
      const { status, body } = await exchange(url, request(`HEAD ${filled}`).replace('KEY', key));
      expect([path, [200, 404].includes(status), body]).toEqual([path, true, '']);
    }
  });
});

describe('a request that is unusual and right', () => {
  test.each<[what: string, status: number, bytes: string]>([
    ['HTTP/1.0 without a host', 200, 'GET /v1/executions HTTP/1.0\r\nauthorization: Bearer KEY\r\n\r\n'],
    ['a whole URL as its target', 200, request('GET http://localhost/v1/executions')],
    ['Accept that is nonsense', 200, request('GET /v1/executions', ['accept: ;;,q=zzz'])],
    ['a body where none is read', 200, request('GET /v1/executions', [JSON_TYPE], BODY)],
    ['an offer of HTTP/2', 202, post(JSON_TYPE, 'connection: Upgrade, HTTP2-Settings', 'upgrade: h2c')],
    ['an offer of a WebSocket where there is none', 202, post(JSON_TYPE, 'connection: Upgrade', 'upgrade: websocket')],
    ['a charset in capitals and quotes', 202, post('content-type: Application/JSON; Charset="UTF-8"')],
    ['a coding that is none', 202, post(JSON_TYPE, 'content-encoding: identity')],
    ['an expectation of 100-continue', 202, post(JSON_TYPE, 'expect: 100-continue')],
    ['an expectation that nobody knows', 202, post(JSON_TYPE, 'expect: nonsense')],
    ['an idempotency key in Latin-1', 202, post(JSON_TYPE, 'idempotency-key: caf\xe9')],
    [
      'chunks with extensions and trailers',
      202,
      `${request('POST /v1/executions', [JSON_TYPE, 'transfer-encoding: chunked'])}e;a=b\r\n${BODY}\r\n0\r\nx-t: 1\r\n\r\n`,
    ],
  ])('with %s is answered', async (_, status, bytes) => {
    const { url, key } = await testServer();
    expect((await exchange(url, bytes.replace('KEY', key))).status).toBe(status);
  });
});

test('clients that send a byte a second are ended with 408, and keep nobody else from being answered', async () => {
  const { url, key, call } = await testServer();
  const dripping = async (start: string, rest: string): Promise<Exchanged> => {
    const socket = await open(url);
    socket.write(start);
    let at = 0;
    const drip = setInterval(() => {
      if (socket.writable) socket.write(rest[at % rest.length] ?? 'x');
      at += 1;
    }, 1_000);
    onTestFinished(() => clearInterval(drip));
    return lastAnswer(await untilClosed(socket).finally(() => clearInterval(drip)));
  };
  const body = request('POST /v1/executions', [JSON_TYPE, 'content-length: 5000']).replace('KEY', key);
  const slow = [
    ...Array.from({ length: 50 }, () => dripping('GET /v1/executions HTTP/1.1\r\nhost: localhost\r\nx-slow: ', 'x')),
    ...Array.from({ length: 20 }, () => dripping(body, ' ')),
  ];
  let ended = false;
  const all = Promise.all(slow).finally(() => {
    ended = true;
  });
  let answered = 0;
  while (!ended) {
    expect((await call('/v1/executions')).status).toBe(200);
    answered += 1;
    await Promise.race([all, delay(500)]);
  }
  const answers = await all;
  expect(answers.map(({ status }) => status)).toEqual(Array(70).fill(408));
  expect(new Set(answers.map(({ body: text }) => JSON.parse(text).code))).toEqual(new Set(['request_timeout']));
  expect(answered).toBeGreaterThan(5);
}, 60_000);
