import { startScriptedModel } from '../src/scripted-model/scripted-model.ts';
import type { Service } from '../src/service.ts';
import { bareClaude } from './bare-claude.ts';
import { alternate, type Benchmark, median, ms, times, withService } from './measure.ts';

/** Milliseconds since the submit, or since the spawn of the bare program, which is accepted and started at once. */
interface Cold {
  accepted: number;
  started: number;
  request: number;
  text: number;
}

export const cold: Benchmark = {
  name: 'cold',
  about: 'submit → model request, and → first text: a warm service against a spawn of the bare program; aim ≤ 1.05×',
  run: async (quick) => {
    let arrived = 0;
    const model = await startScriptedModel({
      script: () => {
        arrived = performance.now();
        return { kind: 'text', text: 'Hello there' };
      },
    });
    const bare = async (): Promise<Cold> => {
      let text = 0;
      const { start } = await bareClaude(model.url, {
        onChunk: (chunk) => {
          if (text === 0 && chunk.includes('Hello')) text = performance.now();
        },
      });
      return { accepted: 0, started: 0, request: arrived - start, text: text - start };
    };
    try {
      const { a: served, b: direct } = await withService({ ANTHROPIC_BASE_URL: model.url }, (service) =>
        alternate(quick ? 5 : 20, () => servedRun(service, () => arrived), bare),
      );
      return report(served, direct);
    } finally {
      await model.close();
    }
  },
};

async function servedRun(service: Service, arrived: () => number): Promise<Cold> {
  const client = service.client(undefined);
  const start = performance.now();
  const { id } = await client.execute({ prompt: 'hello' });
  const accepted = performance.now() - start;
  let started = 0;
  let text = 0;
  for await (const batch of client.events(id, { after: 0 })) {
    const now = performance.now() - start;
    if (started === 0 && batch.some(({ type }) => type === 'execution.started')) started = now;
    if (text === 0 && batch.some(({ bytes }) => bytes.includes('Hello'))) text = now;
  }
  return { accepted, started, request: arrived() - start, text };
}

function report(served: readonly Cold[], direct: readonly Cold[]): string[] {
  const middle = (of: readonly Cold[], take: (one: Cold) => number): string => ms(median(of.map(take)));
  const ratios = (['request', 'text'] as const).map((what) => {
    const [ours, bare] = [median(served.map((one) => one[what])), median(direct.map((one) => one[what]))];
    const added = ms(ours - bare);
    return `${times(ours / bare)}  → ${what}: service ${ms(ours)}, bare ${ms(bare)}, ${added} added, n=${served.length} each`;
  });
  return [
    ...ratios,
    `service: ${middle(served, (one) => one.accepted)} until accepted, ` +
      `${middle(served, (one) => one.started - one.accepted)} until the program runs, ` +
      `${middle(served, (one) => one.request - one.started)} until its request, ` +
      `${middle(served, (one) => one.text - one.request)} until its text`,
    `bare: ${middle(direct, (one) => one.request)} until its request, ${middle(direct, (one) => one.text - one.request)} until its text`,
  ];
}
