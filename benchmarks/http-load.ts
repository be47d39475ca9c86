import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';

export interface Load {
  requestsPerSecond: number;
  /** Share of the turns of this process's event loop that brought no answer; near 0, it is this process that is measured. */
  idle: number;
}

const HEAD = Buffer.from('HTTP/1.1 200 ');

/**
 * Asks for one path over keep-alive connections, each as soon as it has its answer, for `ms`. Answers must all be of the
 * same length: counting bytes costs so little that one process can load another. It never sleeps and so takes a core:
 * the server would pay for waking it, the more the slower it answers (measured on a virtual machine: 3 µs for each answer
 * of a route that takes 10 µs, 15 µs at 40 µs).
 */
export async function httpLoad(
  url: string,
  options: { path: string; key: string; connections: number; ms: number },
): Promise<Load> {
  const { hostname, port, host } = new URL(url);
  const lines = [`GET ${options.path} HTTP/1.1`, `host: ${host}`, `authorization: Bearer ${options.key}`];
  const request = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
  const sockets = Array.from({ length: options.connections }, () => connect(Number(port), hostname).setNoDelay(true));
  try {
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const bytes = await answerLength(sockets, request);
    const asked = sockets.map((socket) => askAgain(socket, request, bytes));
    const count = (): number => asked.reduce((sum, { answers }) => sum + answers(), 0);
    const start = performance.now();
    let [turns, idle, before] = [0, 0, 0];
    while (performance.now() - start < options.ms) {
      await nextTurn();
      const now = count();
      turns += 1;
      if (now === before) idle += 1;
      before = now;
    }
    const seconds = (performance.now() - start) / 1000;
    for (const { stop } of asked) stop();
    return { requestsPerSecond: before / seconds, idle: idle / turns };
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

/** The length of an answer, from the first one of the first connection. */
async function answerLength([socket]: readonly Socket[], request: Buffer): Promise<number> {
  if (socket === undefined) throw new Error('there is no connection');
  socket.write(request);
  let text = '';
  for (;;) {
    const [chunk] = await once(socket, 'data');
    text += String(chunk);
    const [head = '', ...rest] = text.split('\r\n\r\n');
    if (rest.length === 0) continue;
    const body = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
    if (Buffer.byteLength(rest.join('\r\n\r\n')) === body) return Buffer.byteLength(text);
    if (Number.isNaN(body)) throw new Error(`an answer without a length: ${head}`);
  }
}

function askAgain(socket: Socket, request: Buffer, bytes: number): { answers(): number; stop(): void } {
  let answers = 0;
  let taken = 0;
  let open = true;
  socket.on('error', (error) => {
    if (open) throw error;
  });
  socket.on('data', (chunk: Buffer) => {
    if (!open) return;
    if (taken === 0 && !chunk.subarray(0, HEAD.length).equals(HEAD)) throw new Error(`refused: ${chunk.toString()}`);
    taken += chunk.length;
    if (taken > bytes) throw new Error(`${taken} bytes came instead of ${bytes}: ${chunk.toString()}`);
    if (taken < bytes) return;
    answers += 1;
    taken = 0;
    socket.write(request);
  });
  socket.write(request);
  return {
    answers: () => answers,
    stop: () => {
      open = false;
    },
  };
}
