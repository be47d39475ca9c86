/*
 * Loaded into a service before its own code, with `--expose-gc` and a channel to the benchmark: tells what is still held
 * when all garbage is collected, and ends the service when the benchmark has died.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** Bytes. */
export interface SettledMemory {
  rss: number;
  heapUsed: number;
}

const ROUNDS = 3;
const PAUSE_MS = 200;

if (process.send !== undefined) {
  process.on('message', () => void tell());
  process.on('disconnect', () => process.exit());
  process.channel?.unref();
}

/** What one collection sets free, such as the handles of sockets, another one may have to sweep. */
async function tell(): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) {
    globalThis.gc?.();
    await delay(PAUSE_MS);
  }
  const { rss, heapUsed } = process.memoryUsage();
  process.send?.({ rss, heapUsed } satisfies SettledMemory);
}
