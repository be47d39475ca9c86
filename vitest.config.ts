import { defineConfig } from 'vitest/config';

const project = (name: string, options: { timeout: number; workers?: number; group?: number }) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: options.timeout,
    hookTimeout: options.timeout,
    maxWorkers: options.workers ?? 2,
    sequence: { groupOrder: options.group ?? 0 },
  },
});

export default defineConfig({
  test: {
    projects: [
      project('unit', { timeout: 30_000 }),
      project('contract', { timeout: 60_000 }),
      project('integration', { timeout: 60_000 }),
      project('e2e', { timeout: 120_000 }),
      // Behind the others: a build takes all the cores there are.
      project('docker', { timeout: 240_000, workers: 1, group: 1 }),
    ],
  },
});
