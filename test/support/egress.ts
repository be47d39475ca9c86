import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { EgressDenial } from '../../src/egress/egress-lease.ts';
import { type Egress, type EgressOptions, type EgressProxy, startEgressProxy } from '../../src/egress/egress-proxy.ts';
import { addressRanges } from '../../src/outbound/address-range.ts';
import type { EgressList } from '../../src/protocol/egress-rule.ts';

/** Names that exist in these tests; `public.example` is the test's own server all the same. */
const NAMES: Readonly<Record<string, string[]>> = {
  'listed.example': ['127.0.0.1'],
  'deep.below.example': ['127.0.0.1'],
  'metadata.example': ['169.254.169.254'],
  'inside.example': ['10.1.2.3'],
  'two.example': ['127.0.0.1', '10.1.2.3'],
};

/** A proxy of the running test that may reach 127.0.0.1, which stands for the internet. */
export async function egressProxy(resolve = async (name: string) => NAMES[name] ?? []): Promise<EgressProxy> {
  const failures: unknown[] = [];
  const proxy = await startEgressProxy(
    { allowed: addressRanges(['127.0.0.1']), resolve },
    { error: (failure: unknown) => void failures.push(failure), info: () => {} },
  );
  onTestFinished(async () => {
    await proxy.close();
    if (failures.length > 0) throw new Error('the proxy failed inside', { cause: failures[0] });
  });
  return proxy;
}

export interface Way extends Egress {
  denied: EgressDenial[];
  /** Opens a connection to where the proxy listens. */
  connect(): Promise<Socket>;
  /** What an answer to raw bytes begins with; reads until `until` has come, or the other side ends. */
  exchange(bytes: string, until?: string): Promise<string>;
  /** The header that a client makes of the credential in the proxy's URL. */
  authorization: string;
}

/** A way out through a proxy, for a run with a list. */
export async function wayOut(proxy: EgressProxy, list: EgressList, options: EgressOptions = {}): Promise<Way> {
  const egress = await proxy.open(options);
  onTestFinished(() => egress.close());
  const denied: EgressDenial[] = [];
  egress.allow({ executionId: 'execution', list, onDenied: (denial) => void denied.push(denial) });
  const { username, password } = new URL(egress.environment.HTTPS_PROXY ?? '');
  const credential = Buffer.from(`${username}:${password}`).toString('base64');
  const open = async (): Promise<Socket> => {
    const { reach } = egress;
    const socket = 'port' in reach ? connect(reach.port, '127.0.0.1') : connect(reach.socket);
    onTestFinished(() => void socket.destroy());
    // A connection that the proxy cuts is what some tests wait for.
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  };
  return {
    ...egress,
    denied,
    connect: open,
    authorization: `Proxy-Authorization: Basic ${credential}\r\n`,
    exchange: async (bytes, until = '\0') => {
      const socket = await open();
      socket.write(bytes);
      return readUntil(socket, until);
    },
  };
}

/** What comes until a text has come, or the end. */
export async function readUntil(socket: Socket, until: string): Promise<string> {
  let text = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (text.includes(until)) break;
  }
  return text;
}

export interface Website {
  port: number;
  /** Requests as they arrived. */
  requests: { line: string; headers: string[]; body: string }[];
  server: Server;
}

/** A web server of the running test. */
export async function website({ host = '127.0.0.1', answer = 'hello' } = {}): Promise<Website> {
  const requests: Website['requests'] = [];
  const server = createServer((request: IncomingMessage, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      requests.push({ line: `${request.method} ${request.url}`, headers: request.rawHeaders, body });
      response.end(answer);
    });
  });
  server.listen(0, host);
  await once(server, 'listening');
  onTestFinished(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the website has no port');
  return { port: address.port, requests, server };
}
