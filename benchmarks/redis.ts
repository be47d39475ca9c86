import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { loadConfig } from '../src/config.ts';
import { createLogger } from '../src/observability/logger.ts';
import { createService, type Service } from '../src/service.ts';
import { type Benchmark, median, times } from './measure.ts';

const FLOODS = fileURLToPath(new URL('../test/fixtures/fake-claude/floods.mjs', import.meta.url));
const NODE_PROGRAM = fileURLToPath(new URL('../test/fixtures/queue-process.ts', import.meta.url));
const AIM = 20_000;
const LIMIT_MS = 30_000;

export const redis: Benchmark = {
  name: 'redis',
  about: `a program that prints as fast as it is read, with its events in Redis, to one live subscriber; aim ≥ ${AIM} events/s stored and delivered`,
  run: async (quick) => {
    const [count, rounds] = quick ? [100_000, 1] : [500_000, 3];
    const measured: Record<Place, number[]> = { here: [], elsewhere: [] };
    await withRedis(async (site) => {
      for (let round = 0; round < rounds; round += 1) {
        for (const place of ['here', 'elsewhere'] as const) measured[place].push(await flooded(site, place, count));
      }
    });
    return (['here', 'elsewhere'] as const).map((place) => {
      const rates = measured[place];
      const all = rates.map((rate) => Math.round(rate)).join(', ');
      return `${times(median(rates) / AIM)} the aim, ${TITLES[place]}: ${all} events/s, ${count} events each`;
    });
  },
};

type Place = 'here' | 'elsewhere';
const TITLES: Record<Place, string> = {
  here: 'run and subscriber in one service',
  elsewhere: 'run on a worker, subscriber on an API node',
};

/** Events per second; fails unless every `seq` comes in order, without gap, and is stored. */
function flooded(site: RedisSite, place: Place, count: number): Promise<number> {
  const workers = place === 'here' ? 0 : 1;
  return withNodes(site, { workers, env: { CLAUDE_BIN: FLOODS } }, async (service) => {
    const client = service.client(undefined);
    let seen = 0;
    const start = performance.now();
    const { id } = await client.execute({ prompt: 'x', env: { FAKE_COUNT: String(count) } });
    for await (const batch of client.events(id, { after: 0 })) {
      if (batch[0]?.seq !== seen + 1) throw new Error(`event ${batch[0]?.seq} came after ${seen}`);
      seen += batch.length;
    }
    const seconds = (performance.now() - start) / 1000;
    const { outcome, lastSeq } = await client.get(id);
    if (lastSeq !== seen || seen < count || outcome?.kind !== 'succeeded') {
      throw new Error(`${outcome?.kind} with ${lastSeq} stored of ${count}, ${seen} seen`);
    }
    return seen / seconds;
  });
}

export interface RedisSite {
  /** A data folder that all nodes share, and what else a benchmark keeps; everybody may pass through. */
  folder: string;
  url: string;
  command(name: string, ...args: (string | number)[]): Promise<unknown>;
}

/** A redis-server as this service wants it (`appendfsync everysec`), on a socket in a folder; both gone afterwards. */
export async function withRedis<T>(use: (site: RedisSite) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'cc-executor-bench-'));
  await chmod(folder, 0o755);
  const socket = join(folder, 'r.sock');
  const args = ['--port', '0', '--unixsocket', socket, '--dir', folder, '--save', '', '--appendonly', 'yes'];
  const server = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(server, 'exit');
  try {
    await saying(server, /ready to accept connections/i);
    const client = new Redis({ path: socket });
    const command: RedisSite['command'] = (name, ...given) => client.call(name, given);
    try {
      return await use({ folder, url: `unix://${socket}`, command });
    } finally {
      client.disconnect();
    }
  } finally {
    server.kill();
    await exited;
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/**
 * An API node in this process, and workers in processes of their own that are ready; without workers this process is
 * one too. All on the site's Redis, which is empty before.
 */
export async function withNodes<T>(
  { folder, url, command }: RedisSite,
  { workers, env }: { workers: number; env: Record<string, string> },
  use: (service: Service) => Promise<T>,
): Promise<T> {
  await command('FLUSHALL');
  const shared = {
    PATH: process.env.PATH,
    HOME: folder,
    CC_DATA_DIR: join(folder, 'data'),
    CC_ISOLATION: process.env.CC_ISOLATION ?? 'auto',
    ANTHROPIC_API_KEY: 'sk-ant-api03-bench',
    CC_WARM_POOL: '0',
    CC_QUEUE_LIMIT: '100000',
    REDIS_URL: url,
    ...env,
  };
  const config = loadConfig({ ...shared, CC_ROLE: workers === 0 ? 'all' : 'api' });
  const service = await createService(config, { logger: createLogger('error') });
  await service.begin({ adoptQueued: true });
  const spawned = Array.from({ length: workers }, () =>
    spawn(process.execPath, [NODE_PROGRAM], {
      env: { ...shared, CC_ROLE: 'worker' },
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
  try {
    await Promise.all(spawned.map((worker) => saying(worker, /ready/)));
    return await use(service);
  } finally {
    await Promise.all(spawned.map(ended));
    await service.close({ force: true });
  }
}

async function saying(child: ChildProcess, words: RegExp): Promise<void> {
  let said = '';
  const found = Promise.withResolvers<void>();
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-10_000);
    if (words.test(said)) found.resolve();
  });
  child.once('error', found.reject);
  child.once('exit', () => found.reject(new Error(`${child.spawnfile} ended: ${said}`)));
  await Promise.race([
    found.promise,
    delay(LIMIT_MS, undefined, { ref: false }).then(() => found.reject(new Error(said))),
  ]);
  await found.promise;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill();
  const late = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  await exited;
  clearTimeout(late);
}
