import { z } from 'zod';
import { type Benchmark, ms, times } from './measure.ts';
import { descendants, exactCpuSeconds, processFigures } from './process-figures.ts';
import { percentile, ReceivedEvents } from './received-events.ts';
import { type RpcSocket, rpcSocket } from './rpc-socket.ts';
import { type ServedProcess, withServedProcess } from './served-process.ts';

const RUNS = 200;
const SOCKETS = 20;
const PER_SECOND = 20;
const AIM_MS = 50;
const LIMIT_MS = 120_000;
const Execution = z.looseObject({ id: z.string(), lastSeq: z.int(), state: z.string() });

export const streams: Benchmark = {
  name: 'streams',
  about: `${RUNS} runs that print ${PER_SECOND} deltas a second, over ${SOCKETS} WebSockets of ${RUNS / SOCKETS} subscriptions; aims: p99 ≤ ${AIM_MS} ms from print to receipt, none lost or doubled, ≤ 2 MB for each run`,
  run: async (quick) => {
    const seconds = quick ? 5 : 30;
    return withServedProcess({ CC_MAX_CONCURRENT: '250' }, async (served) => {
      const received = new ReceivedEvents();
      const sockets = await Promise.all(
        Array.from({ length: SOCKETS }, () => rpcSocket(served, (text) => received.add(text))),
      );
      const runOn = (socket: RpcSocket, count: number, turns = 2): Promise<string> => start(socket, { count, turns });
      // What a service only pays once, such as code that is compiled, is paid before the first figure is taken.
      await Promise.all(sockets.map((socket) => runOn(socket, PER_SECOND, 1)));
      await until(() => received.finished.size === SOCKETS);
      const before = await served.settled();
      received.deltas.length = 0;
      const ids = await Promise.all(
        Array.from({ length: RUNS }, (_, index) => runOn(pick(sockets, index), seconds * PER_SECOND)),
      );
      await until(() => ids.every((id) => received.running.has(id)));
      const waiting = await served.settled();
      const figures = await whileStreaming(served, async () => {
        await Promise.all(
          ids.map((executionId, index) => pick(sockets, index).call('input', { executionId, text: 'go' })),
        );
        await until(() => received.finished.size === SOCKETS + RUNS);
      });
      const after = await served.settled();
      await compareWithStore(ids, { received, socket: pick(sockets, 0) });
      await Promise.all(sockets.map((socket) => socket.close()));
      const { deltas, lost, doubled } = received;
      const missing = RUNS * seconds * PER_SECOND - deltas.length;
      const all = deltas.map((delta) => delta.ms);
      // All runs end together, which no service meets: what comes until then stands by itself too.
      const early = deltas.filter(({ number }) => number <= (seconds - 1) * PER_SECOND).map((delta) => delta.ms);
      const each = (bytes: number, from = before.rss): string => `${((bytes - from) / RUNS / 1e6).toFixed(2)} MB`;
      return [
        `${times(percentile(all, 0.99) / AIM_MS)} the aim: from print to receipt ${spread(all)}; without the last second of each run ${spread(early)}`,
        `events lost ${Math.max(lost, missing)}, doubled ${doubled}; ${Math.round(all.length / figures.seconds)} deltas/s over ${figures.seconds.toFixed(1)} s`,
        `resident memory of the service for each run: waiting ${each(waiting.rss)}, streaming ${each(percentile(figures.rss, 0.5))} (at most ${each(percentile(figures.rss, 1))}), all ended ${each(after.rss)}; ${Math.round(before.rss / 1e6)} MB before. Heap without garbage: waiting ${each(waiting.heapUsed, before.heapUsed)}, all ended ${each(after.heapUsed, before.heapUsed)}`,
        `cores used while streaming: service ${figures.service.toFixed(2)}, launchers ${figures.launchers.toFixed(3)}, programs ${figures.programs.toFixed(2)}, client ${figures.client.toFixed(2)}`,
      ];
    });
  },
};

interface Figures extends Record<'seconds' | 'service' | 'launchers' | 'programs' | 'client', number> {
  /** Bytes, one each half second. */
  rss: number[];
}

/** Cores used meanwhile. Launchers and programs are counted until half a second before the first of them ends, or later. */
async function whileStreaming({ pid }: ServedProcess, act: () => Promise<void>): Promise<Figures> {
  const family = descendants(pid);
  if (family.children.length < RUNS || family.grandchildren.length !== RUNS) {
    throw new Error(`${family.children.length} launchers and ${family.grandchildren.length} programs run`);
  }
  const used = { launchers: exactCpuSeconds(family.children), programs: exactCpuSeconds(family.grandchildren) };
  const counted = { seconds: 1, launchers: 0, programs: 0 };
  const rss: number[] = [];
  const [start, service, client] = [performance.now(), cpuSeconds(pid), process.cpuUsage()];
  const elapsed = (): number => (performance.now() - start) / 1000;
  const sampling = setInterval(() => {
    rss.push(processFigures(pid)?.residentBytes ?? 0);
    const launchers = exactCpuSeconds(family.children) - used.launchers;
    const programs = exactCpuSeconds(family.grandchildren) - used.programs;
    // Those that have ended no longer count: the sum goes down.
    if (programs > counted.programs) Object.assign(counted, { seconds: elapsed(), launchers, programs });
  }, 500);
  try {
    await act();
  } finally {
    clearInterval(sampling);
  }
  const { user, system } = process.cpuUsage(client);
  return {
    rss,
    seconds: elapsed(),
    service: (cpuSeconds(pid) - service) / elapsed(),
    launchers: counted.launchers / counted.seconds,
    programs: counted.programs / counted.seconds,
    client: (user + system) / 1e6 / elapsed(),
  };
}

function spread(values: readonly number[]): string {
  const [p50, p99, max] = [0.5, 0.99, 1].map((part) => ms(percentile(values, part)));
  return `p50 ${p50}, p99 ${p99}, max ${max}, n=${values.length}`;
}

async function start(socket: RpcSocket, { count, turns }: { count: number; turns: number }): Promise<string> {
  const env = { FAKE_COUNT: String(count), FAKE_PER_SECOND: String(PER_SECOND), FAKE_TURNS: String(turns) };
  return Execution.parse(await socket.call('execute', { prompt: 'x', env })).id;
}

/** @throws Error when the log of a run goes on after what was received, or the run did not succeed */
async function compareWithStore(
  ids: readonly string[],
  { received, socket }: { received: ReceivedEvents; socket: RpcSocket },
): Promise<void> {
  for (const executionId of ids) {
    const { lastSeq, state } = Execution.parse(await socket.call('executions.get', { executionId }));
    if (state !== 'finished' || lastSeq !== received.lastSeq.get(executionId)) {
      throw new Error(`${executionId} is ${state} with ${lastSeq} events; ${received.lastSeq.get(executionId)} came`);
    }
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`it was not so within ${LIMIT_MS} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function pick(sockets: readonly RpcSocket[], index: number): RpcSocket {
  const socket = sockets[index % sockets.length];
  if (socket === undefined) throw new Error('there is no socket');
  return socket;
}

const cpuSeconds = (pid: number): number => processFigures(pid)?.cpuSeconds ?? 0;
