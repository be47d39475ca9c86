import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface CuttingProxy {
  url: string;
  /** How many connections were cut. */
  cuts(): number;
}

/**
 * A TCP proxy in front of `target` that destroys a connection as soon as what came through it from the service matches
 * `when`; what matched is still delivered.
 */
export async function cuttingProxy(target: string, when: (text: string) => boolean): Promise<CuttingProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let cuts = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    let text = '';
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    upstream.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (!when(text)) {
        client.write(chunk);
        return;
      }
      cuts += 1;
      upstream.destroy();
      client.end(chunk, () => client.destroy());
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return { url: `http://127.0.0.1:${address.port}`, cuts: () => cuts };
}
