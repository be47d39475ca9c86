import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { SettledMemory } from './settled-memory.ts';

const PROGRAM = fileURLToPath(new URL('../src/bin/cli.ts', import.meta.url));
const MEMORY = new URL('./settled-memory.ts', import.meta.url).href;
/** Prints lines at a pace; see there. */
export const STREAMING_CLAUDE: string = fileURLToPath(new URL('./streaming-claude.pl', import.meta.url));
const LIMIT_MS = 30_000;
const Memory = z.object({ rss: z.number(), heapUsed: z.number() });

export interface ServedProcess {
  url: string;
  key: string;
  pid: number;
  /** What the service holds when its garbage is collected. */
  settled(): Promise<SettledMemory>;
}

/** `serve` as a process of its own, on a free port and a data folder that is removed afterwards. */
export async function withServedProcess<T>(
  env: Record<string, string>,
  use: (served: ServedProcess) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'cc-executor-bench-'));
  await chmod(folder, 0o755);
  const data = join(folder, 'data');
  const child = spawn(process.execPath, ['--expose-gc', `--import=${MEMORY}`, PROGRAM, 'serve'], {
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      CC_DATA_DIR: data,
      CC_PORT: '0',
      CC_WARM_POOL: '0',
      CC_DRAIN_MS: '0',
      CLAUDE_BIN: STREAMING_CLAUDE,
      CC_ISOLATION: process.env.CC_ISOLATION ?? 'auto',
      ANTHROPIC_API_KEY: 'sk-ant-api03-bench',
      ...env,
    },
  });
  const exited = once(child, 'exit');
  try {
    const { url, pid } = await listening(child);
    const key = (await readFile(join(data, 'key'), 'utf8')).trim();
    return await use({ url, key, pid, settled: () => settled(child) });
  } finally {
    child.kill();
    const late = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
    await exited;
    clearTimeout(late);
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Waits for the line that names the address; what the service says later is passed on. */
async function listening(child: ChildProcess): Promise<{ url: string; pid: number }> {
  const { stderr, pid } = child;
  if (stderr === null || pid === undefined) throw new Error('the service could not be started');
  let said = '';
  const found = Promise.withResolvers<string>();
  const late = setTimeout(() => found.reject(new Error(`the service does not listen: ${said}`)), LIMIT_MS);
  stderr.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-10_000);
    const url = /listens on (http:\S+)\n/.exec(said)?.[1];
    if (url !== undefined) found.resolve(url);
    if (/"level":(40|50|60)/.test(text)) process.stderr.write(text);
  });
  child.once('exit', () => found.reject(new Error(`the service ended: ${said}`)));
  try {
    return { url: await found.promise, pid };
  } finally {
    clearTimeout(late);
  }
}

async function settled(child: ChildProcess): Promise<SettledMemory> {
  child.send('settle');
  const [memory] = await once(child, 'message', { signal: AbortSignal.timeout(LIMIT_MS) });
  return Memory.parse(memory);
}
