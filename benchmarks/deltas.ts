import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pinnedBinaryPath } from '../src/claude/binary.ts';
import { splitLines } from '../src/claude/lines.ts';
import { bareClaude } from './bare-claude.ts';
import { alternate, type Benchmark, median, times, withService } from './measure.ts';
import { modelProcess } from './model-process.ts';

const COUNT = 50_000;

/** The real program with its joining of deltas switched off and past the gateway, which a request cannot ask for. */
async function unjoined(folder: string, url: string): Promise<string> {
  const path = join(folder, 'claude');
  const script = `#!/bin/sh\nANTHROPIC_BASE_URL='${url}' CLAUDE_CODE_STREAM_EVENT_HOLD_MS=0 exec '${pinnedBinaryPath()}' "$@"\n`;
  await writeFile(path, script, { mode: 0o755 });
  await chmod(folder, 0o755);
  return path;
}

export const deltas: Benchmark = {
  name: 'deltas',
  about: `${COUNT} deltas of 100 bytes from the real program with its hold off: through process, log and subscriber, against reading its stdout and splitting lines; whole runs; aim ≥ 0.9×`,
  run: async (quick) => {
    const folder = await mkdtemp(join(tmpdir(), 'cc-executor-deltas-'));
    const model = await modelProcess([{ kind: 'deltas', count: COUNT, text: 'x'.repeat(100) }]);
    const bare = async (): Promise<number> => {
      const start = performance.now();
      const splitter = splitLines();
      let seen = 0;
      await bareClaude(model.url, {
        onChunk: (chunk) => {
          seen += splitter.push(chunk).length;
        },
        env: { CLAUDE_CODE_STREAM_EVENT_HOLD_MS: '0' },
      });
      return rate(seen, start);
    };
    const env = { CLAUDE_BIN: await unjoined(folder, model.url), ANTHROPIC_BASE_URL: model.url };
    const measured = await withService(env, (service) => {
      const client = service.client(undefined);
      const served = async (): Promise<number> => {
        const start = performance.now();
        const { id } = await client.execute({ prompt: 'hello' });
        let seen = 0;
        for await (const batch of client.events(id, { after: 0 })) seen += batch.length;
        return rate(seen, start);
      };
      return alternate(quick ? 3 : 9, served, bare);
    });
    model.close();
    await rm(folder, { recursive: true, force: true });
    const [ours, theirs] = [median(measured.a), median(measured.b)];
    return [
      `${times(ours / theirs)}  service ${ours.toFixed(0)} events/s, bare ${theirs.toFixed(0)} lines/s, n=${measured.a.length} each`,
    ];
  },
};

function rate(seen: number, start: number): number {
  if (seen < COUNT) throw new Error(`only ${seen} of ${COUNT} came`);
  return seen / ((performance.now() - start) / 1000);
}
