import { setTimeout as delay } from 'node:timers/promises';
import { startScriptedModel } from '../src/scripted-model/scripted-model.ts';
import type { Service } from '../src/service.ts';
import { bareClaude } from './bare-claude.ts';
import { type Benchmark, median, ms, times, withService } from './measure.ts';

const READY_LIMIT_MS = 60_000;

export const warm: Benchmark = {
  name: 'warm',
  about:
    'submit → model request on a process that waited, against a spawn of the bare program; aims: fresh workspace ≤ 0.30×, claimed for a named one ≤ 0.55×',
  run: async (quick) => {
    let arrived = 0;
    const model = await startScriptedModel({
      script: () => {
        arrived = performance.now();
        return { kind: 'text', text: 'Hello there' };
      },
    });
    const bare = async (): Promise<number> => {
      const { start } = await bareClaude(model.url, { onChunk: () => {} });
      return arrived - start;
    };
    try {
      return await withService({ ANTHROPIC_BASE_URL: model.url, CC_WARM_POOL: '2' }, async (service) => {
        const served = async (workspace?: string): Promise<number> => {
          const start = performance.now();
          await runWarm(service, workspace);
          return arrived - start;
        };
        service.warm.open();
        for (const workspace of [undefined, 'shop', undefined]) await runToEnd(service, workspace);
        const taken: Record<'bare' | 'fresh' | 'named', number[]> = { bare: [], fresh: [], named: [] };
        for (let round = 0; round < (quick ? 3 : 20); round += 1) {
          for (const [side, measure] of [
            ['bare', bare],
            ['fresh', () => served()],
            ['named', () => served('shop')],
          ] as const) {
            await bothReady(service);
            taken[side].push(await measure());
          }
        }
        const direct = median(taken.bare);
        return (['fresh', 'named'] as const).map((side) => {
          const ours = median(taken[side]);
          return `${times(ours / direct)}  ${side}: service ${ms(ours)}, bare ${ms(direct)}, n=${taken.bare.length} each`;
        });
      });
    } finally {
      await model.close();
    }
  },
};

/** One process for each of the two profiles waits. */
async function bothReady(service: Service): Promise<void> {
  await readyWhen(() => new Set(service.warm.ready().map(({ kind }) => kind)).size === 2);
}

export async function readyWhen(condition: () => boolean): Promise<void> {
  for (const deadline = performance.now() + READY_LIMIT_MS; !condition(); await delay(20)) {
    if (performance.now() > deadline) throw new Error('the processes started ahead did not become ready');
  }
}

/** Fails when the run was not served by a process that waited: its time would count for something else. */
async function runWarm(service: Service, workspace: string | undefined): Promise<void> {
  const waiting = service.warm.ready().map(({ runId }) => runId);
  const id = await runToEnd(service, workspace);
  const record = await service.storage.getExecution('local', id);
  if (!waiting.includes(record?.runId ?? '')) throw new Error('a run started cold');
}

export async function runToEnd(service: Service, workspace?: string): Promise<string> {
  const client = service.client(undefined);
  const { id } = await client.execute({ prompt: 'hello', ...(workspace === undefined ? {} : { workspace }) });
  for await (const _ of client.events(id, { after: 0 }));
  const { outcome } = await client.get(id);
  if (outcome?.kind !== 'succeeded') throw new Error(`a run ended as ${outcome?.kind}: ${outcome?.message}`);
  return id;
}
