import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { WrongKeys } from '../../src/auth/wrong-keys.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { MAX_FRAME_BYTES } from '../../src/protocol/rpc-methods.ts';
import { openCallers } from '../../src/server/open-callers.ts';
import { registerWebSocket } from '../../src/transport/websocket/plugin.ts';
import { keepAlive } from '../../src/transport/websocket/ws-socket.ts';
import { range } from '../support/event-log-fixture.ts';
import { type Executor, type ExecutorOptions, executor } from '../support/executor.ts';
import { type Message, until } from '../support/linked-socket.ts';

const KEY = 'an-operator-chosen-key-of-32-characters';
const FAKES = new URL('../fixtures/fake-claude/', import.meta.url).pathname;

interface Opened extends Executor {
  app: FastifyInstance;
  url: string;
  draining: AbortController;
  closing: AbortController;
  /** Closes the server, as its operator's stop would. */
  close(): Promise<void>;
}

/** A service behind a WebSocket door of its own. */
async function opened(options: ExecutorOptions = {}): Promise<Opened> {
  const running = await executor(options);
  const { executions, storage } = running.service;
  const logger = createLogger('silent');
  const auth = { on: true, jwtSecret: undefined, issuer: undefined };
  const { callers } = await openCallers({ auth, apiKey: KEY }, { storage, logger });
  const draining = new AbortController();
  const closing = new AbortController();
  const app: FastifyInstance = fastify();
  await registerWebSocket(app, {
    executions,
    callers,
    wrongKeys: new WrongKeys({ limit: 100, share: undefined, onRefused: () => {} }),
    logger,
    open: false,
    documents: { openApi: {}, openRpc: {} },
    allowedOrigins: ['https://allowed.example'],
    draining: draining.signal,
    drainMs: 5_000,
    closing: closing.signal,
  });
  const url = (await app.listen({ host: '127.0.0.1', port: 0 })).replace('http', 'ws');
  const close = async (): Promise<void> => {
    closing.abort();
    await app.close();
  };
  onTestFinished(close);
  return { ...running, app, url, draining, closing, close };
}

interface Client {
  ws: WebSocket;
  messages: Message[];
  call(method: string, params?: unknown): Promise<Message>;
  seqs(): number[];
  /** The close code, once it is closed. */
  closed: Promise<number>;
}

interface ClientOptions {
  protocols?: string[];
  headers?: Record<string, string>;
  origin?: string;
}

async function client(url: string, options: ClientOptions = { headers: { 'x-api-key': KEY } }): Promise<Client> {
  const { protocols, ...rest } = options;
  const ws = new WebSocket(url, protocols, rest);
  onTestFinished(() => ws.terminate());
  const messages: Message[] = [];
  ws.on('message', (data) => messages.push(...[JSON.parse(String(data))].flat()));
  ws.on('error', () => {});
  const closed = new Promise<number>((resolve) => ws.on('close', resolve));
  await once(ws, 'open');
  let lastId = 0;
  return {
    ws,
    messages,
    closed,
    seqs: () => messages.filter(({ method }) => method === 'event').map(({ params }) => params.seq),
    call: async (method, params) => {
      lastId += 1;
      const id = lastId;
      ws.send(JSON.stringify({ jsonrpc: '2.0', method, params, id }));
      await until(() => messages.some((message) => message.id === id), `an answer to ${method}`);
      return messages.find((message) => message.id === id) ?? {};
    },
  };
}

const isClosed = ({ method }: Message): boolean => method === 'subscription.closed';

describe('opening', () => {
  test('a key opens it in either header, among the subprotocols, and by authenticate, on both paths', async () => {
    const { url } = await opened();
    const withKey = ['cc-executor.v1', `cc-executor.key.${KEY}`];
    const clients = await Promise.all([
      client(`${url}/v1/ws`),
      client(`${url}/ws`, { headers: { authorization: `Bearer ${KEY}` } }),
      client(`${url}/ws`, { protocols: withKey }),
      client(`${url}/v1/ws`, { protocols: withKey.toReversed(), origin: 'https://allowed.example' }),
      client(`${url}/v1/ws`, {}),
    ]);
    expect((await clients[4]?.call('authenticate', [KEY]))?.result).toEqual({ authenticated: true });
    for (const { call } of clients) expect((await call('ping')).result.time).toMatch(/Z$/);
    expect(clients.map(({ ws }) => ws.protocol)).toEqual(['', '', 'cc-executor.v1', 'cc-executor.v1', '']);
  });

  test('a wrong key, a forbidden origin and a call without a key are told apart by the close code', async () => {
    const { url } = await opened();
    const headers = { 'x-api-key': 'wrong' };
    const protocols = ['cc-executor.v1', 'cc-executor.key.wrong'];
    expect(await (await client(`${url}/ws`, { headers })).closed).toBe(4401);
    expect(await (await client(`${url}/ws`, { protocols })).closed).toBe(4401);
    expect(await (await client(`${url}/ws`, { origin: 'https://evil.example' })).closed).toBe(4403);
    const keyless = await client(`${url}/ws`, {});
    keyless.ws.send('{"jsonrpc":"2.0","method":"ping","id":1}');
    expect(await keyless.closed).toBe(4401);
  });
});

describe('a run', () => {
  test('is answered, then followed to its last event; the result is there', async () => {
    const { url } = await opened();
    const { call, messages, seqs } = await client(`${url}/v1/ws`);
    const { id } = (await call('execute', { prompt: 'Say hello.' })).result;
    await until(() => messages.some(isClosed), 'the end');
    expect(messages[0]?.result?.id).toBe(id);
    const { lastSeq } = messages.at(-1)?.params ?? {};
    expect(messages.at(-1)?.params).toEqual({ executionId: id, reason: 'finished', lastSeq });
    expect(seqs()).toEqual(range(1, lastSeq));
    const { result } = await call('executions.get', [id]);
    expect(result).toMatchObject({ state: 'finished', outcome: { kind: 'succeeded' }, partialText: 'Hello' });
  });

  test('frames carry the bytes of the log verbatim', async () => {
    const { url, run, service } = await opened();
    const { execution } = await run({ prompt: 'Say hello.' });
    const { ws, call, messages } = await client(`${url}/v1/ws`);
    const texts: string[] = [];
    ws.on('message', (data) => texts.push(String(data)));
    await call('subscribe', { executionId: execution.id });
    await until(() => messages.some(isClosed), 'the end');
    const stored = await service.storage.readEvents(execution.id, { after: 0, limit: 1_000, maxBytes: 1e9 });
    const frames = stored.events.map(({ bytes }) => `{"jsonrpc":"2.0","method":"event","params":${bytes}}`);
    expect(texts.slice(1, -1)).toEqual(frames);
  });

  test('ends with the connection that created it with cancelOnDisconnect', async () => {
    const { url, follow } = await opened({ env: { CLAUDE_BIN: `${FAKES}stalls.mjs` } });
    const { ws, call } = await client(`${url}/v1/ws`);
    const { id } = (await call('execute', { prompt: 'x', cancelOnDisconnect: true })).result;
    ws.terminate();
    expect((await follow(id)).execution.outcome).toMatchObject({ kind: 'cancelled', reason: 'cancelled_by_caller' });
  });

  test('goes on when the service closes, and its reader is told where to go on', async () => {
    const { url, draining, close, service } = await opened({ env: { CLAUDE_BIN: `${FAKES}stalls.mjs` } });
    const { call, messages, closed } = await client(`${url}/v1/ws`);
    const { id } = (await call('execute', { prompt: 'x', cancelOnDisconnect: true })).result;
    draining.abort();
    await until(() => messages.some(({ method }) => method === 'server.draining'), 'draining');
    await close();
    expect(await closed).toBe(1001);
    expect(messages.at(-1)).toMatchObject({ method: 'subscription.closed', params: { reason: 'going_away' } });
    expect((await service.executions.get(id, { tenant: 'local' })).cancelRequestedAt).toBeNull();
  });
});

describe('frames', () => {
  test('a binary one and one that is too long close the connection, each with its code', async () => {
    const { url } = await opened();
    const binary = await client(`${url}/ws`);
    binary.ws.send(Buffer.from('{}'));
    expect(await binary.closed).toBe(1003);
    const long = await client(`${url}/ws`);
    long.ws.send('x'.repeat(MAX_FRAME_BYTES + 1));
    expect(await long.closed).toBe(1009);
  });

  test('the longest one is read', async () => {
    const { url } = await opened();
    const { ws, messages } = await client(`${url}/ws`);
    ws.send('x'.repeat(MAX_FRAME_BYTES));
    await until(() => messages.length === 1, 'an answer');
    expect(messages[0]?.error?.code).toBe(-32700);
  });

  test('what is hostile is refused, and the connection lives on', async () => {
    const { url } = await opened();
    const { ws, messages, call } = await client(`${url}/ws`);
    ws.send(`{"jsonrpc":"2.0","id":"a","method":"execute","params":{"prompt":"x","__proto__":{"isAdmin":true}}}`);
    ws.send('['.repeat(200_000) + ']'.repeat(200_000));
    ws.send('{"jsonrpc":"2.0","id":"a","id":"b","method":"ping"}');
    await until(() => messages.length === 3, 'answers');
    expect(messages.map(({ id, error }) => [id, error?.code])).toEqual(Array(3).fill([null, -32600]));
    expect((await call('executions.list')).result.executions).toEqual([]);
  });

  test('calls written in one packet are all answered', async () => {
    const { url } = await opened();
    const { ws, messages } = await client(`${url}/ws`);
    for (let id = 0; id < 500; id += 1) ws.send(`{"jsonrpc":"2.0","id":${id},"method":"ping"}`);
    await until(() => messages.length === 500, 'answers');
    expect(new Set(messages.map(({ id }) => id)).size).toBe(500);
  });
});

describe('a client that does not read', () => {
  /** Opens by hand, so that nothing reads the socket. */
  async function unread(url: string, calls: string[]): Promise<Socket> {
    const socket = connectTcp({ host: '127.0.0.1', port: Number(new URL(url).port) });
    onTestFinished(() => {
      socket.destroy();
    });
    socket.write(
      `GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Api-Key: ${KEY}\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    await once(socket, 'data');
    socket.pause();
    for (const text of calls) socket.write(maskedFrame(text));
    return socket;
  }

  /** A text frame of a client, masked with zeros (RFC 6455 section 5.2). */
  function maskedFrame(text: string): Buffer {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(text.length);
    return Buffer.concat([Buffer.from([0x81, 0x80 | 126]), length, Buffer.alloc(4), Buffer.from(text)]);
  }

  test('is told where to go on and closed with 4429, while another one reads the same logs on', async () => {
    const { app, url, start } = await opened({ env: { CLAUDE_BIN: `${FAKES}stalls.mjs`, CC_MAX_CONCURRENT: '1' } });
    const ids: string[] = [];
    for (let count = 0; count < 10; count += 1) ids.push((await start({ prompt: 'x'.repeat(3 * 1024 * 1024) })).id);
    const subscribe = (id: string): string => `{"jsonrpc":"2.0","id":1,"method":"subscribe","params":["${id}"]}`;
    const stuck = await unread(url, ids.map(subscribe));
    const reader = await client(`${url}/ws`);
    for (const id of ids) reader.ws.send(subscribe(id));
    const closing = (): boolean =>
      [...app.websocketServer.clients].some(({ readyState }) => readyState === WebSocket.CLOSING);
    await until(closing, 'closing', 30_000);
    const received: Buffer[] = [];
    const ended = once(stuck, 'close');
    stuck.on('error', () => {});
    stuck.on('data', (chunk) => received.push(chunk));
    stuck.resume();
    await ended;
    const bytes = Buffer.concat(received);
    expect(bytes.toString('latin1')).toMatch(/"method":"subscription.closed","params":{.{50,80}"reason":"too_slow"/);
    expect(bytes.readUInt16BE(bytes.lastIndexOf('the client reads too slowly') - 2)).toBe(4429);
    const first = ({ params }: Message): string[] => (params?.seq === 1 ? [params.executionId] : []);
    await until(() => reader.messages.flatMap(first).length === ids.length, 'all events');
    expect(reader.messages.flatMap(first).sort()).toEqual(ids.sort());
    expect((await reader.call('ping')).error).toBeUndefined();
  });
});

describe('pings', () => {
  async function pinged(options: { autoPong: boolean }): Promise<{ ws: WebSocket; pings: () => number }> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    onTestFinished(() => {
      server.close();
    });
    server.on('connection', (ws) => keepAlive(ws, 500));
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const ws = new WebSocket(`ws://127.0.0.1:${port}`, options);
    onTestFinished(() => ws.terminate());
    let count = 0;
    ws.on('ping', () => {
      count += 1;
    });
    return { ws, pings: () => count };
  }

  test('a client that answers stays', async () => {
    const { ws, pings } = await pinged({ autoPong: true });
    await until(() => pings() >= 3, 'three pings');
    expect(ws.readyState).toBe(WebSocket.OPEN);
  });

  test('a client that does not answer is cut off at the next ping', async () => {
    const { ws, pings } = await pinged({ autoPong: false });
    const [code] = await once(ws, 'close');
    expect([code, pings()]).toEqual([1006, 1]);
  });
});
