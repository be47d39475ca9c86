import { type Benchmark, median } from './measure.ts';
import { type RpcSocket, rpcSocket } from './rpc-socket.ts';
import { withServedProcess } from './served-process.ts';

const SOCKETS = 1_000;
const WARM_UP = 50;
/** Fewer at a time than wait for being accepted. */
const AT_ONCE = 50;
const AIM_BYTES = 100_000;

export const idle: Benchmark = {
  name: 'idle',
  about: `${SOCKETS} authenticated WebSockets on which nothing happens, each round on a service of its own; aim ≤ ${AIM_BYTES / 1000} kB of the service's memory for each`,
  run: async (quick) => {
    const rounds: { rss: number; heap: number }[] = [];
    for (let round = 0; round < (quick ? 2 : 7); round += 1) rounds.push(await measure());
    const resident = median(rounds.map(({ rss }) => rss));
    return [
      `${(resident / AIM_BYTES).toFixed(3)}× the aim: ${kB(resident)} resident for each socket, n=${rounds.length}: ${rounds.map(({ rss }) => kB(rss)).join(', ')}`,
      `of it in the JavaScript heap: ${kB(median(rounds.map(({ heap }) => heap)))}`,
    ];
  },
};

/** Bytes for each socket, when all garbage is collected. */
function measure(): Promise<{ rss: number; heap: number }> {
  return withServedProcess({}, async (served) => {
    const open = async (count: number): Promise<RpcSocket[]> => {
      const sockets: RpcSocket[] = [];
      while (sockets.length < count) {
        sockets.push(...(await Promise.all(Array.from({ length: AT_ONCE }, () => authenticated(served)))));
      }
      return sockets;
    };
    const close = async (sockets: RpcSocket[]): Promise<void> => {
      await Promise.all(sockets.map((socket) => socket.close()));
    };
    await close(await open(WARM_UP));
    const before = await served.settled();
    const sockets = await open(SOCKETS);
    const after = await served.settled();
    await Promise.all(sockets.map((socket) => socket.call('ping', {})));
    await close(sockets);
    return { rss: (after.rss - before.rss) / SOCKETS, heap: (after.heapUsed - before.heapUsed) / SOCKETS };
  });
}

async function authenticated(served: { url: string; key: string }): Promise<RpcSocket> {
  const socket = await rpcSocket(served, () => {});
  await socket.call('ping', {});
  return socket;
}

const kB = (bytes: number): string => `${(bytes / 1000).toFixed(1)} kB`;
