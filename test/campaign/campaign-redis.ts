import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { REDIS_LISTENS, redisArguments } from '../support/redis-arguments.ts';

/** A real redis-server that keeps what it has acknowledged, on a socket that only the proxies know. */
export interface CampaignRedis {
  socket: string;
  start(): Promise<void>;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
}

const START_LIMIT_MS = 20_000;
export async function campaignRedis(parent: string): Promise<CampaignRedis> {
  const folder = join(parent, 'redis');
  await mkdir(folder);
  const socket = join(folder, 'r.sock');
  const args = redisArguments(folder, socket);
  let child: ChildProcess | undefined;
  return {
    socket,
    start: async () => {
      const started = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] });
      child = started;
      let said = '';
      const listening = Promise.withResolvers<void>();
      const failed = (): void => listening.reject(new Error(`redis-server does not listen: ${said}`));
      const late = setTimeout(failed, START_LIMIT_MS);
      started.once('exit', failed);
      started.once('error', (error) => listening.reject(error));
      started.stdout.setEncoding('utf8').on('data', (text: string) => {
        said = `${said}${text}`.slice(-10_000);
        if (REDIS_LISTENS.test(said)) listening.resolve();
      });
      try {
        await listening.promise;
      } finally {
        clearTimeout(late);
      }
    },
    kill: async () => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
    signal: (signal) => void child?.kill(signal),
  };
}
