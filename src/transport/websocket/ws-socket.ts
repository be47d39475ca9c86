import type { WebSocket } from '@fastify/websocket';
import type { Socket } from './outbound.ts';

/** A socket of the `ws` library as a connection uses it. */
export function wsSocket(ws: WebSocket): Socket {
  return {
    send: ({ data, last }, done) => ws.send(data, { binary: false, fin: last }, done),
    close: (code, reason) => {
      // The other side's half of the handshake is yet to be read.
      if (ws.isPaused) ws.resume();
      ws.close(code, reason);
    },
    terminate: () => ws.terminate(),
    pause: () => {
      if (!ws.isPaused) ws.pause();
    },
    resume: () => {
      if (ws.isPaused) ws.resume();
    },
  };
}

/** Pings, and cuts the line of a client that has not answered by the next ping. One that is not read cannot answer. */
export function keepAlive(ws: WebSocket, intervalMs: number): void {
  let awaited = false;
  const timer = setInterval(() => {
    if (ws.isPaused) return;
    if (awaited) return ws.terminate();
    awaited = true;
    ws.ping();
  }, intervalMs);
  ws.on('pong', () => {
    awaited = false;
  });
  ws.on('close', () => clearInterval(timer));
}
