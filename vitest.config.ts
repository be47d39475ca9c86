import { defineConfig } from 'vitest/config';

const project = (name: string, options: { timeout: number; workers?: number }) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: options.timeout,
    hookTimeout: options.timeout,
    maxWorkers: options.workers ?? 2,
  },
});

export default defineConfig({
  test: {
    projects: [
      project('unit', { timeout: 30_000 }),
      project('contract', { timeout: 60_000 }),
      project('integration', { timeout: 60_000 }),
      project('e2e', { timeout: 120_000 }),
    ],
  },
});
