import { once } from 'node:events';
import { expect, test } from 'vitest';
import { MAX_CONNECTIONS } from '../../src/egress/egress-lease.ts';
import { egressProxy, readUntil, wayOut, website } from '../support/egress.ts';
import { waitUntil } from '../support/processes.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const status = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

test('a tunnel to a listed host passes bytes both ways', async () => {
  const { port } = await website();
  const way = await wayOut(await egressProxy(), [`listed.example:${port}`]);
  const socket = await way.connect();
  socket.write(`CONNECT listed.example:${port} HTTP/1.1\r\nHost: listed.example:${port}\r\n${way.authorization}\r\n`);
  expect(await readUntil(socket, '\r\n\r\n')).toBe('HTTP/1.1 200 Connection established\r\n\r\n');
  socket.write('GET /x HTTP/1.1\r\nHost: listed.example\r\nConnection: close\r\n\r\n');
  expect(await readUntil(socket, 'hello')).toContain('hello');
  expect(way.use()).toMatchObject({ connections: 1, denied: 0 });
  await waitUntil('the bytes to be counted', () => way.use().bytesReceived > 0 && way.use().bytesSent > 0);
});

test('a plain request arrives with its path and headers, without those for the proxy', async () => {
  const site = await website();
  const way = await wayOut(await egressProxy(), [`listed.example:${site.port}`]);
  const url = `http://listed.example:${site.port}/a%20b?c=d`;
  const head = `Host: listed.example:${site.port}\r\n${way.authorization}X-Own: 1\r\nConnection: X-Hop\r\nX-Hop: 1\r\n`;
  const answer = await way.exchange(`POST ${url} HTTP/1.1\r\n${head}Content-Length: 3\r\n\r\nabc`, 'hello');
  expect(status(answer)).toBe(200);
  const [request] = site.requests;
  expect(request).toMatchObject({ line: 'POST /a%20b?c=d', body: 'abc' });
  const names = request?.headers.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  expect(names?.sort()).toEqual(['connection', 'content-length', 'host', 'x-own']);
  expect(request?.headers).toContain(`listed.example:${site.port}`);
});

test.each([
  ['another host', 'other.example:443', 'not_listed'],
  ['another port of a listed host', 'listed.example:22', 'not_listed'],
  ['the name above a wildcard', 'below.example:443', 'not_listed'],
  ['a name that only ends alike', 'evilbelow.example:443', 'not_listed'],
  ['a listed name with a private address', 'inside.example:443', 'not_public'],
  ['a listed name with one private address of two', 'two.example:443', 'not_public'],
  ['a listed name of cloud metadata', 'metadata.example:80', 'not_public'],
  ['a listed private address', '10.0.0.1:443', 'not_public'],
  ['loopback by IPv6', '[::1]:443', 'not_public'],
  ['loopback mapped into IPv6 by its address', '[::ffff:10.0.0.1]:443', 'not_public'],
])('%s is refused with 403, and the run is told once', async (_title, target, reason) => {
  const listed = ['listed.example', 'inside.example', 'two.example', 'metadata.example'];
  const list = [...listed, '*.below.example', '10.0.0.1', '[::1]', '[::ffff:10.0.0.1]'];
  const way = await wayOut(await egressProxy(), list);
  for (let time = 0; time < 3; time += 1) {
    const answer = await way.exchange(`CONNECT ${target} HTTP/1.1\r\n${way.authorization}\r\n`);
    expect(status(answer)).toBe(403);
    expect(answer).toMatch(reason === 'not_listed' ? /CC_EGRESS\./ : /CC_EGRESS_PRIVATE/);
    expect(answer).not.toContain('10.1.2.3');
  }
  expect(way.denied).toEqual([expect.objectContaining({ reason })]);
  expect(way.use().denied).toBe(3);
});

test('of more than a hundred refused hosts, a hundred are told', async () => {
  const way = await wayOut(await egressProxy(), []);
  for (let number = 0; number < 110; number += 1) {
    await way.exchange(`CONNECT h${number}.example:443 HTTP/1.1\r\n${way.authorization}\r\n`);
  }
  expect(way.denied).toHaveLength(100);
  expect(way.use().denied).toBe(110);
});

test.each([
  ['octal', '0177.0.0.1'],
  ['hex', '0x7f.0.0.1'],
  ['one number', '2130706433'],
  ['two numbers', '127.1'],
  ['zero', '0'],
  ['a last dot', '127.0.0.1.'],
  ['a zone', '[fe80::1%25lo]'],
  ['user information', 'x@listed.example'],
  ['no ASCII', 'listed\u3002example'],
  ['a backslash', 'other.example\\listed.example'],
])('a host with %s is refused as malformed', async (_title, host) => {
  const way = await wayOut(await egressProxy(), 'open');
  const connect = await way.exchange(`CONNECT ${host}:443 HTTP/1.1\r\n${way.authorization}\r\n`);
  expect(status(connect)).toBe(400);
  const absolute = await way.exchange(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${way.authorization}\r\n`);
  expect(status(absolute)).toBe(400);
});

test.each([
  ['a Host header of another host', 'GET http://listed.example/ HTTP/1.1\r\nHost: other.example\r\n'],
  ['a Host header with another port', 'GET http://listed.example/ HTTP/1.1\r\nHost: listed.example:81\r\n'],
  ['two Host headers', 'GET http://listed.example/ HTTP/1.1\r\nHost: listed.example\r\nHost: listed.example\r\n'],
  ['a tunnel with another Host', 'CONNECT listed.example:443 HTTP/1.1\r\nHost: other.example:443\r\n'],
  ['a tunnel with a body', 'CONNECT listed.example:443 HTTP/1.1\r\nContent-Length: 5\r\n'],
  ['a tunnel without a port', 'CONNECT listed.example HTTP/1.1\r\n'],
  ['a request in origin form', 'GET / HTTP/1.1\r\nHost: listed.example\r\n'],
  ['https in absolute form', 'GET https://listed.example/ HTTP/1.1\r\nHost: listed.example\r\n'],
  [
    'a length and chunks at once',
    'POST http://listed.example/ HTTP/1.1\r\nHost: listed.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n',
  ],
])('%s is refused with 400', async (_title, head) => {
  const way = await wayOut(await egressProxy(), ['listed.example']);
  expect(status(await way.exchange(`${head}${way.authorization}\r\n`))).toBe(400);
});

test('without the credential, with a wrong one, and with that of a run that has ended, everything is 407', async () => {
  const proxy = await egressProxy();
  const { port } = await website();
  const way = await wayOut(proxy, [`listed.example:${port}`]);
  const ended = await wayOut(proxy, [`listed.example:${port}`]);
  await ended.close();
  const wrong = `Proxy-Authorization: Basic ${Buffer.from('run:cce_wrong').toString('base64')}\r\n`;
  for (const authorization of ['', wrong, ended.authorization]) {
    const answer = await way.exchange(`CONNECT listed.example:${port} HTTP/1.1\r\n${authorization}\r\n`);
    expect(status(answer)).toBe(407);
    expect(answer).toMatch(/proxy-authenticate: Basic/);
  }
  expect(way.denied).toEqual([]);
});

test('a process that no run uses yet reaches nothing', async () => {
  const proxy = await egressProxy();
  const egress = await proxy.open();
  const { password } = new URL(egress.environment.HTTPS_PROXY ?? '');
  const other = await wayOut(proxy, 'open');
  const credential = Buffer.from(`run:${password}`).toString('base64');
  const answer = await other.exchange(
    `CONNECT listed.example:443 HTTP/1.1\r\nProxy-Authorization: Basic ${credential}\r\n\r\n`,
  );
  expect(status(answer)).toBe(403);
  await egress.close();
});

test('the end of a run cuts its tunnels and no one else’s', async () => {
  const proxy = await egressProxy();
  const { port } = await website();
  const [ending, living] = [
    await wayOut(proxy, [`listed.example:${port}`]),
    await wayOut(proxy, [`listed.example:${port}`]),
  ];
  const sockets = await Promise.all(
    [ending, living].map(async (way) => {
      const socket = await way.connect();
      socket.write(`CONNECT listed.example:${port} HTTP/1.1\r\n${way.authorization}\r\n`);
      await readUntil(socket, '\r\n\r\n');
      return socket;
    }),
  );
  const cut = once(sockets[0] ?? expect.unreachable(), 'close');
  await ending.close();
  sockets[0]?.resume();
  await cut;
  const [, alive] = sockets;
  alive?.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  expect(await readUntil(alive ?? expect.unreachable(), 'hello')).toContain('hello');
});

test('a run has so many connections at once and no more', async () => {
  const { port } = await website();
  const way = await wayOut(await egressProxy(), [`listed.example:${port}`]);
  const head = `CONNECT listed.example:${port} HTTP/1.1\r\n${way.authorization}\r\n`;
  const sockets = await Promise.all(
    Array.from({ length: MAX_CONNECTIONS }, async () => {
      const socket = await way.connect();
      socket.write(head);
      await readUntil(socket, '\r\n\r\n');
      return socket;
    }),
  );
  expect(status(await way.exchange(head))).toBe(429);
  sockets[0]?.destroy();
  await waitUntil('room for another', async () => status(await way.exchange(head, '\r\n\r\n')) === 200);
});

test('a unix socket of its own needs no credential, and is gone with the run', async () => {
  const { port } = await website();
  const path = `${await temporaryFolder()}/p.sock`;
  const way = await wayOut(await egressProxy(), [`listed.example:${port}`], { socket: { path, portInBox: 3128 } });
  expect(way.environment.HTTPS_PROXY).toBe('http://127.0.0.1:3128');
  const url = `http://listed.example:${port}/`;
  expect(status(await way.exchange(`GET ${url} HTTP/1.1\r\nHost: listed.example:${port}\r\n\r\n`, 'hello'))).toBe(200);
  expect(status(await way.exchange('CONNECT other.example:443 HTTP/1.1\r\n\r\n'))).toBe(403);
  await way.close();
  await expect(way.connect()).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a host that does not answer is 502', async () => {
  const way = await wayOut(await egressProxy(), ['listed.example:1', 'unknown.example']);
  expect(status(await way.exchange(`CONNECT listed.example:1 HTTP/1.1\r\n${way.authorization}\r\n`))).toBe(502);
  expect(status(await way.exchange(`CONNECT unknown.example:443 HTTP/1.1\r\n${way.authorization}\r\n`))).toBe(502);
  expect(way.denied).toEqual([]);
});

test('the name is resolved once, and the connection goes to the address that was checked', async () => {
  const { port } = await website();
  const answers = [['127.0.0.1'], ['169.254.169.254']];
  const asked: string[] = [];
  const proxy = await egressProxy(async (name) => {
    asked.push(name);
    return answers.shift() ?? [];
  });
  const way = await wayOut(proxy, [`rebound.example:${port}`]);
  const head = `CONNECT rebound.example:${port} HTTP/1.1\r\n${way.authorization}\r\n`;
  expect(status(await way.exchange(head, '\r\n\r\n'))).toBe(200);
  expect(asked).toEqual(['rebound.example']);
  expect(status(await way.exchange(head))).toBe(403);
});
