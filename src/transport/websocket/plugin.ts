import type { IncomingHttpHeaders } from 'node:http';
import fastifyWebsocket, { type WebSocket } from '@fastify/websocket';
import type { FastifyInstance } from 'fastify';
import { presentedKey, SUBPROTOCOL, subprotocolKey } from '../../auth/presented-key.ts';
import { ServiceError } from '../../protocol/errors.ts';
import { MAX_FRAME_BYTES } from '../../protocol/rpc-methods.ts';
import { type Door, originAllowed } from '../door.ts';
import { Connection, type ConnectionDoor } from './connection.ts';
import { OUTBOUND_LIMITS } from './outbound.ts';
import { keepAlive, wsSocket } from './ws-socket.ts';

const PING_INTERVAL_MS = 30_000;

/** The part of a door that this one needs. */
export type WebSocketDoor = ConnectionDoor & Pick<Door, 'allowedOrigins'>;

/**
 * JSON-RPC 2.0 on `/v1/ws` and `/ws`. Connections end when `door.closing` aborts; `app.close()` takes no new ones and
 * waits for those there are.
 */
export async function registerWebSocket(app: FastifyInstance, door: WebSocketDoor): Promise<void> {
  await app.register(fastifyWebsocket, {
    options: {
      maxPayload: MAX_FRAME_BYTES,
      perMessageDeflate: false,
      // The other subprotocol that may be offered is a key, which is not to be echoed.
      handleProtocols: (offered) => offered.has(SUBPROTOCOL) && SUBPROTOCOL,
    },
    preClose(done) {
      this.websocketServer.close();
      done();
    },
    // The library has started to close by itself (RFC 6455 section 7.1.7), with 1009 for what is too long.
    errorHandler: (error, socket) => {
      door.logger.debug({ err: error }, 'a WebSocket failed');
      const timer = setTimeout(() => socket.terminate(), OUTBOUND_LIMITS.closeWithinMs);
      socket.on('close', () => clearTimeout(timer));
    },
  });
  for (const path of ['/v1/ws', '/ws']) {
    app.route({
      method: 'GET',
      url: path,
      handler: async () => {
        throw new ServiceError('invalid_request', 'This path is a WebSocket; connect to it with a client for those');
      },
      wsHandler: (ws, { headers, host, ip, id }) => connect(door, ws, { headers, host, ip, id }),
    });
  }
}

function connect(
  door: WebSocketDoor,
  ws: WebSocket,
  { headers, host, ip, id }: { headers: IncomingHttpHeaders; host: string; ip: string; id: string },
): void {
  const connection = new Connection(
    { door, socket: wsSocket(ws) },
    {
      key: presentedKey(headers) ?? subprotocolKey(headers['sec-websocket-protocol']),
      address: ip,
      requestId: id,
      originAllowed: originAllowed({ origin: headers.origin, host }, door.allowedOrigins),
    },
  );
  ws.on('message', (data, isBinary) => {
    if (isBinary || !Buffer.isBuffer(data)) connection.receiveBinary();
    else connection.receive(data.toString());
  });
  ws.on('close', () => connection.ended());
  keepAlive(ws, PING_INTERVAL_MS);
}
