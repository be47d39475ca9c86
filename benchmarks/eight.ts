import { startScriptedModel } from '../src/scripted-model/scripted-model.ts';
import type { Service } from '../src/service.ts';
import { bareClaude } from './bare-claude.ts';
import { type Benchmark, median, ms, times, withService } from './measure.ts';
import { readyWhen, runToEnd } from './warm.ts';

const COUNT = 8;

export const eight: Benchmark = {
  name: 'eight',
  about: `${COUNT} runs at once, until the last model request: cold, and from a pool of ${COUNT}, against ${COUNT} bare programs; aims ≤ 1.1× and ≤ 0.4×`,
  run: async (quick) => {
    let arrived: number[] = [];
    const model = await startScriptedModel({
      script: () => {
        arrived.push(performance.now());
        return { kind: 'text', text: 'Hello there' };
      },
    });
    /** Milliseconds from the first submit or spawn to the last request. */
    const untilLast = async (run: () => Promise<unknown>): Promise<number> => {
      arrived = [];
      const start = performance.now();
      await Promise.all(Array.from({ length: COUNT }, run));
      if (arrived.length !== COUNT) throw new Error(`${arrived.length} requests came instead of ${COUNT}`);
      return Math.max(...arrived) - start;
    };
    const env = { ANTHROPIC_BASE_URL: model.url, CC_MAX_CONCURRENT: String(COUNT), CC_WARM_POOL: String(COUNT) };
    const sides = {
      bare: () => untilLast(() => bareClaude(model.url, { onChunk: () => {} })),
      cold: () => withService(env, (service) => untilLast(() => runToEnd(service))),
      warm: () => withService(env, (service) => fromPool(service, untilLast)),
    };
    const taken: Record<keyof typeof sides, number[]> = { bare: [], cold: [], warm: [] };
    try {
      for (let round = 0; round < (quick ? 2 : 11); round += 1) {
        for (const side of ['bare', 'cold', 'warm'] as const) {
          const measured = await sides[side]();
          if (round > 0) taken[side].push(measured);
        }
      }
    } finally {
      await model.close();
    }
    const direct = median(taken.bare);
    return (['cold', 'warm'] as const).map((side) => {
      const ours = median(taken[side]);
      return `${times(ours / direct)}  ${side}: service ${ms(ours)}, bare ${ms(direct)}, n=${taken.bare.length} of ${COUNT} each`;
    });
  },
};

async function fromPool(
  service: Service,
  untilLast: (run: () => Promise<unknown>) => Promise<number>,
): Promise<number> {
  service.warm.open();
  await readyWhen(() => service.warm.ready().length === COUNT);
  const waiting = new Set(service.warm.ready().map(({ runId }) => runId));
  return untilLast(async () => {
    const record = await service.storage.getExecution('local', await runToEnd(service));
    if (!waiting.has(record?.runId ?? '')) throw new Error('a run started cold');
  });
}
