import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pinnedBinaryPath } from '../src/claude/binary.ts';
import { splitLines } from '../src/claude/lines.ts';
import type { Service } from '../src/service.ts';
import { bareClaude } from './bare-claude.ts';
import { alternate, type Benchmark, median, times, withService } from './measure.ts';
import { modelProcess } from './model-process.ts';

const COUNT = 50_000;
const TEXT = 'x'.repeat(100);

/** Deltas per second. */
interface Rate {
  /** From the first delta to the last: what the stream alone does. */
  stream: number;
  /** From the submit or spawn to the end: with the program's start and its exit. */
  whole: number;
}

export const deltas: Benchmark = {
  name: 'deltas',
  about: `${COUNT} deltas of 100 bytes from the real program with its hold off: through process, log and a live subscriber, against splitting its stdout into lines; aim ≥ 0.9×`,
  run: async (quick) => {
    const folder = await mkdtemp(join(tmpdir(), 'cc-executor-deltas-'));
    const model = await modelProcess([{ kind: 'deltas', count: COUNT, text: TEXT }]);
    try {
      const env = { CLAUDE_BIN: await unjoined(folder, model.url), ANTHROPIC_BASE_URL: model.url };
      const { a: served, b: bare } = await withService(env, (service) =>
        alternate(
          quick ? 3 : 9,
          () => servedRun(service),
          () => bareRun(model.url),
        ),
      );
      return [line('stream', 'first delta → last', { served, bare }), line('whole', 'whole run', { served, bare })];
    } finally {
      await model.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
};

/**
 * The real program with its joining of deltas switched off and past the gateway, which a request may not ask for: both
 * sides read the same program on the same stream, so that the difference is process, log and subscriber alone.
 */
async function unjoined(folder: string, url: string): Promise<string> {
  const path = join(folder, 'claude');
  const script = `#!/bin/sh\nANTHROPIC_BASE_URL='${url}' CLAUDE_CODE_STREAM_EVENT_HOLD_MS=0 exec '${pinnedBinaryPath()}' "$@"\n`;
  await writeFile(path, script, { mode: 0o755 });
  await chmod(folder, 0o755);
  return path;
}

async function servedRun(service: Service): Promise<Rate> {
  const client = service.client(undefined);
  const span = deltaSpan();
  const start = performance.now();
  const { id } = await client.execute({ prompt: 'hello' });
  for await (const batch of client.events(id, { after: 0 })) {
    span.add(batch.filter(({ type }) => type === 'claude.delta').length);
  }
  return span.rate(start, performance.now());
}

async function bareRun(url: string): Promise<Rate> {
  const span = deltaSpan();
  const splitter = splitLines();
  const { start, end } = await bareClaude(url, {
    onChunk: (chunk) => span.add(splitter.push(chunk).filter((line) => line.includes('text_delta')).length),
    env: { CLAUDE_CODE_STREAM_EVENT_HOLD_MS: '0' },
  });
  return span.rate(start, end);
}

function deltaSpan(): { add(count: number): void; rate(start: number, end: number): Rate } {
  let [seen, first, last] = [0, 0, 0];
  return {
    add(count) {
      if (count === 0) return;
      last = performance.now();
      if (seen === 0) first = last;
      seen += count;
    },
    rate(start, end) {
      if (seen !== COUNT) throw new Error(`${seen} deltas came instead of ${COUNT}`);
      return { stream: (seen / (last - first)) * 1000, whole: (seen / (end - start)) * 1000 };
    },
  };
}

function line(what: keyof Rate, title: string, { served, bare }: { served: Rate[]; bare: Rate[] }): string {
  const [ours, theirs] = [median(served.map((one) => one[what])), median(bare.map((one) => one[what]))];
  return `${times(ours / theirs)}  ${title}: service ${Math.round(ours)} deltas/s, bare ${Math.round(theirs)} deltas/s, n=${served.length} each`;
}
