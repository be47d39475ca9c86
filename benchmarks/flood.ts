import { fileURLToPath } from 'node:url';
import { type Benchmark, times, withService } from './measure.ts';

const FLOODS = fileURLToPath(new URL('../test/fixtures/fake-claude/floods.mjs', import.meta.url));
const AIM = 20_000;
const MARKS = [0.1, 0.5, 1];

export const flood: Benchmark = {
  name: 'flood',
  about: `a program that prints as fast as it is read, through the whole service to one live subscriber; aim ≥ ${AIM} events/s stored and delivered, memory flat`,
  run: async (quick) => {
    const count = quick ? 300_000 : 1_000_000;
    return withService({ CLAUDE_BIN: FLOODS }, async (service) => {
      const client = service.client(undefined);
      const memory = [`${megabytes()} before`];
      const marks = MARKS.map((part) => ({ at: part * count, title: `${part * 100} %` }));
      let seen = 0;
      const start = performance.now();
      const { id } = await client.execute({ prompt: 'x', env: { FAKE_COUNT: String(count) } });
      for await (const batch of client.events(id, { after: 0 })) {
        const [first] = batch;
        if (first?.seq !== seen + 1) throw new Error(`event ${first?.seq} came after ${seen}`);
        seen += batch.length;
        while (marks[0] !== undefined && seen >= marks[0].at) memory.push(`${megabytes()} at ${marks.shift()?.title}`);
      }
      const seconds = (performance.now() - start) / 1000;
      const { outcome, lastSeq } = await client.get(id);
      if (lastSeq !== seen || outcome?.kind !== 'succeeded') throw new Error(`${outcome?.kind} with ${lastSeq} stored`);
      return [
        `${times(seen / seconds / AIM)} the aim: ${Math.round(seen / seconds)} events/s, ${seen} events in ${seconds.toFixed(1)} s, n=1`,
        `resident memory of service and subscriber: ${memory.join(', ')}`,
      ];
    });
  },
};

function megabytes(): string {
  return `${Math.round(process.memoryUsage.rss() / 1e6)} MB`;
}
