import { fileURLToPath } from 'node:url';
import { type Benchmark, withService } from './measure.ts';

const FLOODS = fileURLToPath(new URL('../test/fixtures/fake-claude/floods.mjs', import.meta.url));

export const flood: Benchmark = {
  name: 'flood',
  about:
    'a program that prints as fast as it is read: events stored and delivered to a live reader; aim ≥ 20,000/s, memory flat',
  run: async (quick) => {
    const count = quick ? 200_000 : 1_000_000;
    return withService({ CLAUDE_BIN: FLOODS }, async (service) => {
      const client = service.client(undefined);
      const { id } = await client.execute({ prompt: 'x', env: { FAKE_COUNT: String(count) } });
      let seen = 0;
      const memory: string[] = [];
      const start = performance.now();
      for await (const batch of client.events(id, { after: 0 })) {
        seen += batch.length;
        if (seen >= ((memory.length + 1) * count) / 5 && memory.length < 5) {
          memory.push(`${Math.round(process.memoryUsage().rss / 1e6)} MB`);
        }
      }
      const seconds = (performance.now() - start) / 1000;
      const { outcome } = await client.get(id);
      return [
        `${Math.round(seen / seconds)} events/s: ${seen} events in ${seconds.toFixed(1)} s, ${outcome?.kind}`,
        `resident memory of the service at each fifth: ${memory.join(', ')}`,
      ];
    });
  },
};
