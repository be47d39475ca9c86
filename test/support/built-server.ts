import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { z } from 'zod';
import { type Machine, machine, type Running } from './program.ts';
import { type Calls, callsTo } from './server.ts';

export interface BuiltServer extends Calls {
  machine: Machine;
  running: Running;
  /** Sends a signal and waits for the end of the program. */
  end(signal: NodeJS.Signals): Promise<{ code: number | null; stderr: string }>;
}

const ServerFile = z.object({ url: z.string(), pid: z.int() });

/** The built program's `serve` on a free port, as a process of its own; ended after the test. */
export async function builtServer(
  options: { script?: Parameters<typeof machine>[0]; env?: Record<string, string>; machine?: Machine } = {},
): Promise<BuiltServer> {
  const home = options.machine ?? (await machine(options.script));
  const running = home.start(['serve'], {
    env: { CC_PORT: '0', CC_WARM_POOL: '0', CC_DRAIN_MS: '5000', ...options.env },
  });
  const data = join(home.folder, 'data');
  const url = await expect
    .poll(() => serverUrl(data, running), { timeout: 20_000, interval: 20 })
    .not.toBe('')
    .then(() => serverUrl(data, running));
  const key = (await readFile(join(data, 'key'), 'utf8')).trim();
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

/** The URL this very process has written down; empty until then. */
async function serverUrl(data: string, { child, said }: Running): Promise<string> {
  if (child.exitCode !== null) throw new Error(`serve ended: ${said().stderr}`);
  if (!existsSync(join(data, 'server.json'))) return '';
  const { url, pid } = ServerFile.parse(JSON.parse(await readFile(join(data, 'server.json'), 'utf8')));
  return pid === child.pid ? url : '';
}
