import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';
import { openRedisStorage, type RedisStorageOptions } from '../../src/storage/redis/redis-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { waitUntil } from './processes.ts';
import { REDIS_LISTENS, redisArguments } from './redis-arguments.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface RedisServer {
  /** Where it keeps its files. */
  folder: string;
  url: string;
  pid(): number;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  /** Starts it again on what it kept; does not wait until that is loaded. */
  start(...args: string[]): Promise<void>;
  /** One command over a connection of its own, as `redis-cli` would send it. */
  command(name: string, ...args: (string | number)[]): Promise<unknown>;
}

/** A server of the running test on a socket in a folder of its own; later arguments win over the ones given here. */
export async function redisServer(...args: string[]): Promise<RedisServer> {
  const folder = await temporaryFolder();
  const socket = join(folder, 'r.sock');
  const all = [...redisArguments(folder, socket), ...args];
  let child: ChildProcess;
  const start = async (...more: string[]): Promise<void> => {
    child = spawn('redis-server', [...all, ...more], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      output = (output + chunk).slice(-10_000);
    });
    await waitUntil('redis-server to listen', () => REDIS_LISTENS.test(output) || child.exitCode !== null);
    if (child.exitCode !== null) throw new Error(`redis-server ended: ${output}`);
  };
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  };
  await start();
  onTestFinished(kill);
  const command = async (name: string, ...commandArgs: (string | number)[]): Promise<unknown> => {
    const redis = new Redis({ path: socket, maxRetriesPerRequest: 1, enableReadyCheck: false });
    try {
      return await redis.call(name, commandArgs);
    } finally {
      redis.disconnect();
    }
  };
  return { folder, url: `unix://${socket}`, pid: () => child.pid ?? 0, kill, start, command };
}

/** A store on the server, closed when the running test ends. */
export async function openOn(
  server: { url: string },
  options: Omit<RedisStorageOptions, 'url'> = {},
): Promise<Storage> {
  const storage = await openRedisStorage({ url: server.url, ...options });
  onTestFinished(() => storage.close());
  return storage;
}
