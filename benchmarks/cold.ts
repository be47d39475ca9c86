import { startScriptedModel } from '../src/scripted-model/scripted-model.ts';
import { bareClaude } from './bare-claude.ts';
import { alternate, type Benchmark, median, ms, times, withService } from './measure.ts';

interface Cold {
  request: number;
  text: number;
}

export const cold: Benchmark = {
  name: 'cold',
  about: 'submit → model request and → first text, the service against the bare program; aim ≤ 1.05×',
  run: async (quick) => {
    let arrived = 0;
    const model = await startScriptedModel({
      script: () => {
        arrived = performance.now();
        return { kind: 'text', text: 'Hello there' };
      },
    });
    const measured = await withService({ ANTHROPIC_BASE_URL: model.url }, async (service) => {
      const client = service.client(undefined);
      const served = async (): Promise<Cold> => {
        const start = performance.now();
        let text = 0;
        const { id } = await client.execute({ prompt: 'hello' });
        for await (const batch of client.events(id, { after: 0 })) {
          if (text === 0 && batch.some(({ bytes }) => bytes.includes('Hello'))) text = performance.now();
        }
        return { request: arrived - start, text: text - start };
      };
      const bare = async (): Promise<Cold> => {
        const start = performance.now();
        let text = 0;
        await bareClaude(model.url, {
          onChunk: (chunk) => {
            if (text === 0 && chunk.includes('Hello')) text = performance.now();
          },
        });
        return { request: arrived - start, text: text - start };
      };
      return alternate(quick ? 5 : 20, served, bare);
    });
    await model.close();
    return (['request', 'text'] as const).map((what) => {
      const [ours, bare] = [median(measured.a.map((one) => one[what])), median(measured.b.map((one) => one[what]))];
      return `→ ${what.padEnd(8)} ${times(ours / bare)}  service ${ms(ours)}, bare ${ms(bare)}, n=${measured.a.length} each`;
    });
  },
};
