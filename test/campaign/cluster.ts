import { once } from 'node:events';
import { chmod, cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CampaignNode } from './campaign-node.ts';
import { type CampaignRedis, campaignRedis } from './campaign-redis.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CLAUDE = fileURLToPath(new URL('campaign-claude.pl', import.meta.url));
const READY_LIMIT_MS = 60_000;
const API_NODES = 2;
const WORKERS = 3;
/** Below those that the system gives to connections, so that none of them takes the port of a node that is down. */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;

/** Nodes of the built program that share a Redis and a data folder. */
export interface Cluster {
  redis: CampaignRedis;
  nodes: readonly CampaignNode[];
  apis: readonly CampaignNode[];
  workers: readonly CampaignNode[];
  key: string;
  journal: string;
  /** The names of those that do not become ready within a minute. */
  notReady(): Promise<string[]>;
  close(): Promise<void>;
}

/** Starts Redis and every node, in a folder that exists. */
export async function openCluster(folder: string): Promise<Cluster> {
  const program = await installProgram(folder);
  const journal = join(folder, 'journal');
  await writeFile(journal, '');
  // As root, the runs are another user's.
  await chmod(journal, 0o666);
  const redis = await campaignRedis(folder);
  const nodes: CampaignNode[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.close()));
    redis.signal('SIGCONT');
    await redis.kill();
  };
  const key = 'campaign-key-campaign-key-campaign-key';
  const names = [
    ...Array.from({ length: API_NODES }, (_, index) => ({ name: `api-${index + 1}`, role: 'api' as const })),
    ...Array.from({ length: WORKERS }, (_, index) => ({ name: `worker-${index + 1}`, role: 'worker' as const })),
  ];
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: folder,
    CC_DATA_DIR: join(folder, 'data'),
    CC_API_KEY: key,
    CC_WARM_POOL: '0',
    CC_DRAIN_MS: '0',
    CC_MAX_CONCURRENT: '8',
    CC_QUEUE_LIMIT: '5000',
    CC_LOG_LEVEL: 'info',
    CLAUDE_BIN: CLAUDE,
    CC_ISOLATION: 'L1',
    ANTHROPIC_API_KEY: 'sk-ant-api03-campaign',
    ANTHROPIC_BASE_URL: 'http://127.0.0.1:9',
  };
  try {
    await redis.start();
    for (const { name, role } of names) {
      const port = await freePort();
      const logFile = join(folder, `${name}.log`);
      nodes.push(await CampaignNode.open({ name, role, port, program, env, logFile, redisSocket: redis.socket }));
    }
    for (const node of nodes) node.start();
    const late = await notReady(nodes);
    if (late.length > 0) throw new Error(`not ready: ${late.join(', ')}; see their logs in ${folder}`);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    redis,
    nodes,
    apis: nodes.filter(({ role }) => role === 'api'),
    workers: nodes.filter(({ role }) => role === 'worker'),
    key,
    journal,
    notReady: () => notReady(nodes),
    close,
  };
}

/** A copy of the built program, so that a build during a long campaign does not change what is tested. */
async function installProgram(folder: string): Promise<string> {
  const target = join(folder, 'program');
  await mkdir(target);
  await cp(join(ROOT, 'dist'), join(target, 'dist'), { recursive: true });
  await cp(join(ROOT, 'package.json'), join(target, 'package.json'));
  await symlink(join(ROOT, 'node_modules'), join(target, 'node_modules'));
  return join(target, 'dist/bin/cli.js');
}

async function notReady(nodes: readonly CampaignNode[]): Promise<string[]> {
  const deadline = performance.now() + READY_LIMIT_MS;
  let waiting = [...nodes];
  while (waiting.length > 0 && performance.now() < deadline) {
    const ready = await Promise.all(waiting.map((node) => node.ready()));
    waiting = waiting.filter((_, index) => ready[index] !== true);
    await delay(100);
  }
  return waiting.map(({ name }) => name);
}

let lastPort = FIRST_PORT + (process.pid % (LAST_PORT - FIRST_PORT));

async function freePort(): Promise<number> {
  for (;;) {
    lastPort = lastPort + 1 > LAST_PORT ? FIRST_PORT : lastPort + 1;
    const server = createServer();
    server.listen(lastPort, '127.0.0.1');
    const free = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    server.close();
    if (free) return lastPort;
  }
}
