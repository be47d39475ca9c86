import { z } from 'zod';
import { withEmptyRoute } from './empty-route.ts';
import { httpLoad, type Load } from './http-load.ts';
import { alternate, type Benchmark, median, times } from './measure.ts';
import { processFigures } from './process-figures.ts';
import { withServedProcess } from './served-process.ts';

const CONNECTIONS = 50;
const Finished = z.object({ id: z.string(), state: z.literal('finished') });

type Measured = Load & { server: number };

export const reads: Benchmark = {
  name: 'reads',
  about: `GET of a finished execution over ${CONNECTIONS} keep-alive connections, against a Fastify route that answers {} in a process of its own; aim ≥ 0.5×`,
  run: async (quick) => {
    const ms = quick ? 1_000 : 3_000;
    return withEmptyRoute((empty) =>
      withServedProcess({}, async (served) => {
        const id = await finishedExecution(served);
        const load = async (pid: number, url: string, path: string): Promise<Measured> => {
          const before = processFigures(pid)?.cpuSeconds ?? 0;
          const start = performance.now();
          const loaded = await httpLoad(url, { path, key: served.key, connections: CONNECTIONS, ms });
          const used = (processFigures(pid)?.cpuSeconds ?? 0) - before;
          return { ...loaded, server: used / ((performance.now() - start) / 1000) };
        };
        const { a, b } = await alternate(
          quick ? 2 : 9,
          () => load(served.pid, served.url, `/v1/executions/${id}`),
          () => load(empty.pid, empty.url, '/'),
        );
        const rate = (rounds: Measured[]): number => median(rounds.map(({ requestsPerSecond }) => requestsPerSecond));
        // Where other work leaves a server less than a core, this is what it would do with a whole one.
        const ofCore = (rounds: Measured[]): number =>
          median(rounds.map((round) => round.requestsPerSecond / round.server));
        return [
          `${times(rate(a) / rate(b))}  service ${Math.round(rate(a))} requests/s, empty route ${Math.round(rate(b))}, n=${a.length} of ${ms / 1000} s each`,
          `${times(ofCore(a) / ofCore(b))}  for each second of CPU: service ${Math.round(ofCore(a))} requests, empty route ${Math.round(ofCore(b))}`,
          `cores used: service ${share(a, 'server')}, empty route ${share(b, 'server')}; idle turns of the generator: ${share(a, 'idle')}, ${share(b, 'idle')}`,
        ];
      }),
    );
  },
};

function share(rounds: Measured[], what: 'server' | 'idle'): string {
  return median(rounds.map((round) => round[what])).toFixed(2);
}

async function finishedExecution({ url, key }: { url: string; key: string }): Promise<string> {
  const answer = await fetch(`${url}/v1/execute`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'x', env: { FAKE_COUNT: '3' } }),
  });
  if (answer.status !== 200) throw new Error(`${answer.status}: ${await answer.text()}`);
  return Finished.parse(await answer.json()).id;
}
