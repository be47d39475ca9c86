import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AddressPolicy } from '../outbound/checked-address.ts';
import { EgressLease, type EgressRun, type EgressUse, Leases, MAX_CONNECTIONS } from './egress-lease.ts';
import { forwardRequest } from './forward-request.ts';
import { bound, connectTo, join } from './open-tunnel.ts';
import { proxyEnvironment } from './proxy-environment.ts';
import {
  malformed,
  NO_CREDENTIAL,
  type ProxyRefusal,
  refuseRequest,
  refuseTunnel,
  unreachable,
} from './proxy-refusal.ts';
import { absoluteTarget, connectTarget } from './proxy-target.ts';

const SERVER_LIMITS = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  /** Bodies are bounded by silence; see `bound`. */
  requestTimeout: 0,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 2_000,
};
/** Connections to the port that all runs share. */
const MAX_SHARED_CONNECTIONS = 4_096;

/** What a process has of the proxy. */
export interface Egress {
  /** The variables that make its programs use the proxy. */
  environment: Record<string, string>;
  /** Where the proxy listens for it: the port on 127.0.0.1, or the path of a unix socket. */
  reach: { port: number } | { socket: string };
  /** Lets the process reach what a run's list has. Before that, everything is refused. */
  allow(run: EgressRun): void;
  use(): EgressUse;
  /** Cuts its connections; its credential or socket opens nothing afterwards. */
  close(): Promise<void>;
}

export interface EgressOptions {
  /**
   * The absolute path of a unix socket for this process alone, in a folder of its own, and the port on which something
   * in its box passes connections on to it. Without it, the process uses the shared port with a credential.
   */
  socket?: { path: string; portInBox: number };
}

/** The one way out of runs: a proxy for CONNECT and plain HTTP that knows which run asks, and what it may reach. */
export interface EgressProxy {
  readonly port: number;
  open(options?: EgressOptions): Promise<Egress>;
  close(): Promise<void>;
}

/** Starts the proxy on a free port of 127.0.0.1. */
export async function startEgressProxy(
  policy: AddressPolicy,
  logger: Pick<Logger, 'error' | 'info'>,
): Promise<EgressProxy> {
  const leases = new Leases();
  const serve = (identify: (request: IncomingMessage) => EgressLease | undefined): ProxyServer => {
    const server = createServer(SERVER_LIMITS);
    const sockets = new Set<Socket>();
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    server.on('connect', (request: IncomingMessage, client: Duplex, head: Buffer) => {
      client.on('error', () => client.destroy());
      tunnel({ request, client, head }, { lease: identify(request), policy }).catch((error: unknown) => {
        logger.error({ err: error }, 'a tunnel failed inside the egress proxy');
        client.destroy();
      });
    });
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      plain({ request, response }, { lease: identify(request), policy }).catch((error: unknown) => {
        logger.error({ err: error }, 'a request failed inside the egress proxy');
        response.destroy();
      });
    });
    server.on('clientError', (_error, socket) => {
      if (socket.writable) refuseTunnel(socket, malformed('This is no HTTP request'));
    });
    return { server, sockets };
  };
  const shared = serve(({ headers }) => leases.find(headers['proxy-authorization']));
  shared.server.maxConnections = MAX_SHARED_CONNECTIONS;
  shared.server.listen(0, '127.0.0.1');
  await once(shared.server, 'listening');
  const address = shared.server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;

  const open = async ({ socket }: EgressOptions = {}): Promise<Egress> => {
    const lease = new EgressLease();
    leases.add(lease);
    const own =
      socket === undefined
        ? undefined
        : await listenAt(
            serve(() => lease),
            socket.path,
          );
    const url =
      socket === undefined ? `http://run:${lease.token}@127.0.0.1:${port}` : `http://127.0.0.1:${socket.portInBox}`;
    return {
      environment: proxyEnvironment(url),
      reach: socket === undefined ? { port } : { socket: socket.path },
      allow: (run) => lease.allow(run),
      use: () => ({ ...lease.use }),
      close: async () => {
        leases.remove(lease);
        lease.close();
        // The sockets that were cut are counted when they are closed.
        await nextTurn();
        const { executionId, use } = lease;
        if (use.connections + use.denied > 0) logger.info({ executionId, ...use }, 'what a run sent out and got');
        if (own !== undefined) await stop(own);
      },
    };
  };
  return {
    port,
    open,
    close: async () => {
      for (const lease of leases.all()) lease.close();
      await stop(shared);
    },
  };
}

interface Admission {
  lease: EgressLease | undefined;
  policy: AddressPolicy;
}

async function tunnel(
  { request, client, head }: { request: IncomingMessage; client: Duplex; head: Buffer },
  { lease, policy }: Admission,
): Promise<void> {
  const target = connectTarget(request);
  if (lease === undefined) return refuseTunnel(client, NO_CREDENTIAL);
  if ('status' in target) return refuseTunnel(client, target);
  const refusal = lease.refusal(target);
  if (refusal !== undefined) return refuseTunnel(client, refusal);
  if (!(client instanceof Socket)) throw new Error('the server of the proxy has sockets that are none');
  await lease.during(async () => {
    bound(client, lease);
    const upstream = await connectTo(target, { lease, policy });
    if ('status' in upstream) return refuseTunnel(client, upstream);
    if (client.destroyed) {
      upstream.destroy();
      return;
    }
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) upstream.write(head);
    await join(client, upstream);
  });
}

async function plain(
  { request, response }: { request: IncomingMessage; response: ServerResponse },
  { lease, policy }: Admission,
): Promise<void> {
  const refuse = (refusal: ProxyRefusal): void => refuseRequest(response, refusal);
  const target = absoluteTarget(request);
  if (lease === undefined) return refuse(NO_CREDENTIAL);
  if ('status' in target) return refuse(target);
  const refusal = lease.refusal(target);
  if (refusal !== undefined) return refuse(refusal);
  await lease.during(async () => {
    lease.hold(request.socket);
    const socket = await connectTo(target, { lease, policy });
    if ('status' in socket) return refuse(socket);
    response.once('close', () => socket.destroy());
    await forwardRequest({ request, response }, { target, socket }).catch(() => {
      // Either side broke off; the other one is told what can still be told.
      refuse(unreachable(target.shown));
    });
  });
}

/** A server and all its sockets, those of tunnels too, which the server itself lets go of. */
interface ProxyServer {
  server: Server;
  sockets: ReadonlySet<Socket>;
}

async function listenAt(proxy: ProxyServer, path: string): Promise<ProxyServer> {
  const { server } = proxy;
  server.maxConnections = MAX_CONNECTIONS;
  await rm(path, { force: true });
  server.listen(path);
  await once(server, 'listening');
  await chmod(path, 0o600);
  return proxy;
}

async function stop({ server, sockets }: ProxyServer): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  for (const socket of sockets) socket.destroy();
  await closed;
}
