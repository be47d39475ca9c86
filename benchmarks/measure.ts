import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../src/config.ts';
import { createLogger } from '../src/observability/logger.ts';
import { createService, type Service } from '../src/service.ts';

export interface Benchmark {
  name: string;
  /** What is compared with what, and the aim. */
  about: string;
  run(quick: boolean): Promise<string[]>;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Measures A and B in turn, A B A B, so that a slow spell of the machine meets both. */
export async function alternate<T>(
  rounds: number,
  a: () => Promise<T>,
  b: () => Promise<T>,
): Promise<{ a: T[]; b: T[] }> {
  const measured: { a: T[]; b: T[] } = { a: [], b: [] };
  await a();
  await b();
  for (let round = 0; round < rounds; round += 1) {
    measured.a.push(await a());
    measured.b.push(await b());
  }
  return measured;
}

export const ms = (value: number): string => `${value.toFixed(2)} ms`;
export const times = (value: number): string => `${value.toFixed(3)}×`;

export function machineLine(): string {
  return `${availableParallelism()} cores, Node ${process.versions.node}, ${process.platform}-${process.arch}`;
}

/** A service with a data folder of its own, both gone afterwards. */
export async function withService<T>(
  env: Record<string, string>,
  use: (service: Service, folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'cc-executor-bench-'));
  await chmod(folder, 0o755);
  const config = loadConfig({
    PATH: process.env.PATH,
    HOME: folder,
    CC_DATA_DIR: join(folder, 'data'),
    CC_ISOLATION: process.env.CC_ISOLATION ?? 'auto',
    ANTHROPIC_API_KEY: 'sk-ant-api03-bench',
    ...env,
  });
  const service = await createService(config, { logger: createLogger('error') });
  await service.begin({ adoptQueued: false });
  try {
    return await use(service, folder);
  } finally {
    await service.close({ force: true });
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
