import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { rpcClient } from '../support/rpc-client.ts';
import { type TestServer, testServer } from '../support/server.ts';

const UPGRADE = [
  'GET /v1/ws HTTP/1.1',
  'host: localhost',
  'connection: Upgrade',
  'upgrade: websocket',
  'sec-websocket-version: 13',
  'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
].join('\r\n');

/** A connection, and everything it is told until it is closed. */
async function open({ url }: TestServer): Promise<{ socket: Socket; closed: Promise<string>; said(): string }> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
  onTestFinished(() => void socket.destroy());
  // How it ends is told by what came before its end.
  socket.on('error', () => {});
  let said = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    said += text;
  });
  const closed = once(socket, 'close').then(() => said);
  await once(socket, 'connect');
  return { socket, closed, said: () => said };
}

/** Writes a byte of `rest` every half second, again and again, until the connection ends. */
function drip(socket: Socket, rest: string): void {
  let at = 0;
  const timer = setInterval(() => {
    if (socket.writable) socket.write(rest[at % rest.length] ?? 'x', 'latin1');
    at += 1;
  }, 500);
  socket.on('close', () => clearInterval(timer));
}

test('a WebSocket whose handshake or first frame comes a byte at a time is ended, and others are answered meanwhile', {
  timeout: 60_000,
}, async () => {
  const server = await testServer();
  const shaking = Promise.all(
    Array.from({ length: 20 }, async () => {
      const { socket, closed } = await open(server);
      socket.write(`${UPGRADE}\r\nx-slow: `);
      drip(socket, 'x');
      return closed;
    }),
  );
  const silent = Promise.all(
    Array.from({ length: 20 }, async () => {
      const client = await open(server);
      client.socket.write(`${UPGRADE}\r\n\r\n`);
      await expect.poll(() => client.said()).toContain('101 Switching Protocols');
      // The head of a masked text frame of 60,000 bytes, which then do not come.
      client.socket.write(Buffer.from([0x81, 0xfe, 0xea, 0x60, 0, 0, 0, 0]));
      drip(client.socket, ' ');
      return client.closed;
    }),
  );
  const meanwhile = await rpcClient(server.url, { key: server.key });
  expect((await meanwhile.call('ping')).result).toBeDefined();
  for (const said of await silent) {
    const frame = Buffer.from(said.split('\r\n\r\n').slice(1).join(), 'latin1');
    expect([frame[0], frame.readUInt16BE(2)]).toEqual([0x88, 4408]);
  }
  for (const said of await shaking) expect(said).toMatch(/^HTTP\/1\.1 408 .*"code":"request_timeout"/s);
  expect((await meanwhile.call('ping')).result).toBeDefined();
});

test.each([
  ['without a key, where there is no WebSocket', '/v1/executions', ''],
  ['without a key, at no path', '/nowhere', ''],
  ['at a path that cannot be read', '/v1/executions/%', ''],
  ['of what is open to all', '/health', ''],
  ['with a key in its URL', '/v1/ws?key=x', ''],
  ['with two keys', '/v1/ws', 'x-api-key: a\r\nx-api-key: b\r\n'],
])('an upgrade that is none ends its connection: one %s', async (_what, path, headers) => {
  const server = await testServer();
  const { socket, closed } = await open(server);
  socket.write(`${UPGRADE.replace('/v1/ws', path)}\r\n${headers}\r\n`);
  expect(await closed).toMatch(/^HTTP\/1\.1 (40[01]|200) /);
});

test('a flood of connections takes no more than there may be, and leaves the service as it was', async () => {
  const server = await testServer({ env: { CC_MAX_CONNECTIONS: '100' } });
  const client = await rpcClient(server.url, { key: server.key });
  const flood = await Promise.all(Array.from({ length: 500 }, () => open(server)));
  let dropped = 0;
  for (const { closed } of flood) void closed.then(() => (dropped += 1));
  await expect.poll(() => dropped, { timeout: 10_000 }).toBe(401);
  expect((await client.call('ping')).result).toBeDefined();
  for (const { socket } of flood) socket.destroy();
  await expect
    .poll(() => server.call('/v1/executions').then(({ status }) => status, String), { timeout: 10_000 })
    .toBe(200);
});
