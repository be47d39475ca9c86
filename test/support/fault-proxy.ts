import { once } from 'node:events';
import { createConnection, createServer, type NetConnectOpts, type Socket } from 'node:net';
import { DelayedLane } from './delayed-lane.ts';

/**
 * `cut`: reset, and so is every new one. `half-open`: stays open, and nothing that is sent arrives. `deaf`: what is sent
 * to the server arrives, and its answers do not. `slow`: everything arrives, in order, so many ms later.
 */
export type NetworkFault = { kind: 'cut' | 'half-open' | 'deaf' } | { kind: 'slow'; delayMs: number };

/** A TCP proxy on 127.0.0.1 whose network can be made bad. */
export interface FaultProxy {
  port: number;
  /**
   * Makes it bad until `heal`.
   * @param share 1 for all connections and those to come; below 1, the one that many of the way through those there are
   */
  fault(fault: NetworkFault, share?: number): void;
  /** Makes it good. Connections that have lost bytes are reset, because nobody could make sense of them. */
  heal(): void;
  close(): Promise<void>;
}

interface Connection {
  client: Socket;
  upstream: Socket;
  toServer: DelayedLane;
  toClient: DelayedLane;
  lost: boolean;
}

/** A proxy in front of `target`, on a port of the system's choice. */
export async function faultProxy(target: NetConnectOpts): Promise<FaultProxy> {
  const connections = new Set<Connection>();
  let forAll: NetworkFault | undefined;
  const server = createServer({ noDelay: true }, (client) => {
    if (forAll?.kind === 'cut') {
      client.resetAndDestroy();
      return;
    }
    const connection = connect(client, target);
    connections.add(connection);
    client.on('close', () => ended(connection, client));
    connection.upstream.on('close', () => ended(connection, connection.upstream));
    if (forAll !== undefined) apply(connection, forAll);
  });
  /** While bytes are lost, the other side does not hear of the end either. */
  const ended = (connection: Connection, side: Socket): void => {
    const other = side === connection.client ? connection.upstream : connection.client;
    if (connection.lost && !other.destroyed) return;
    reset(connection);
    connections.delete(connection);
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    port: address.port,
    fault: (fault, share = 1) => {
      if (share >= 1) forAll = fault;
      const there = [...connections];
      const hit = share >= 1 ? there : there.slice(Math.floor(share * there.length)).slice(0, 1);
      for (const connection of hit) apply(connection, fault);
    },
    heal: () => {
      forAll = undefined;
      for (const connection of connections) {
        connection.toServer.delayMs = 0;
        connection.toClient.delayMs = 0;
        if (connection.lost) reset(connection);
      }
    },
    close: async () => {
      for (const connection of connections) reset(connection);
      server.close();
      await once(server, 'close');
    },
  };
}

function connect(client: Socket, target: NetConnectOpts): Connection {
  const upstream = createConnection(target);
  upstream.setNoDelay(true);
  // Each error is followed by a close, which ends the other side.
  for (const socket of [client, upstream]) socket.on('error', () => {});
  const [toServer, toClient] = [new DelayedLane(client, upstream), new DelayedLane(upstream, client)];
  return { client, upstream, toServer, toClient, lost: false };
}

function apply(connection: Connection, fault: NetworkFault): void {
  const { toServer, toClient } = connection;
  if (fault.kind === 'cut') reset(connection);
  else if (fault.kind === 'slow') {
    toServer.delayMs = fault.delayMs;
    toClient.delayMs = fault.delayMs;
  } else {
    connection.lost = true;
    toClient.swallow();
    if (fault.kind === 'half-open') toServer.swallow();
  }
}

function reset({ client, upstream, toServer, toClient }: Connection): void {
  toServer.stop();
  toClient.stop();
  if (!client.destroyed) client.resetAndDestroy();
  upstream.destroy();
}
