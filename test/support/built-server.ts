import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Machine, machine, type Running } from './program.ts';
import { type Calls, callsTo } from './server.ts';

export interface BuiltServer extends Calls {
  machine: Machine;
  running: Running;
  /** Sends a signal and waits for the end of the program. */
  end(signal: NodeJS.Signals): Promise<{ code: number | null; stderr: string }>;
}

/** The built program's `serve` on a free port, as a process of its own; ended after the test. */
export async function builtServer(
  options: { script?: Parameters<typeof machine>[0]; env?: Record<string, string>; machine?: Machine } = {},
): Promise<BuiltServer> {
  const home = options.machine ?? (await machine(options.script));
  const running = home.start(['serve'], {
    env: { CC_PORT: '0', CC_WARM_POOL: '0', CC_DRAIN_MS: '5000', ...options.env },
  });
  const data = join(home.folder, 'data');
  await expect.poll(() => saidUrl(running), { timeout: 20_000, interval: 20 }).not.toBe('');
  const url = saidUrl(running);
  // A worker that is the first on its folder finds none: its port asks for no key.
  const key = (await readFile(join(data, 'key'), 'utf8').catch(missingIsEmpty)).trim();
  return {
    ...callsTo(url, key),
    machine: home,
    running,
    end: async (signal) => {
      running.child.kill(signal);
      const { code, stderr } = await running.ended;
      return { code, stderr };
    },
  };
}

/** The URL that this very process has said; empty until then. */
function saidUrl({ child, said }: Running): string {
  const { stderr } = said();
  if (child.exitCode !== null) throw new Error(`serve ended: ${stderr}`);
  return /listens on (http:\S+)/.exec(stderr)?.[1] ?? '';
}

function missingIsEmpty(error: unknown): string {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
  throw error;
}
