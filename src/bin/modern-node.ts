import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NEEDED = 24;

/**
 * Runs this same program under the Node of the `node` package when the one at hand is too old. This file must load
 * under Node 20.
 * @returns the exit code of that run; undefined when this Node will do
 */
export async function modernNode(): Promise<number | undefined> {
  if (Number(process.versions.node.split('.', 1)[0]) >= NEEDED) return undefined;
  const path = bundledNode(dirname(fileURLToPath(import.meta.url)));
  if (path === undefined) {
    const what = `cc-executor needs Node ${NEEDED} or newer, and this is ${process.versions.node}.`;
    process.stderr.write(
      `${what}\nInstall it, or run npm ci with development packages: they bring a Node of their own.\n`,
    );
    return 2;
  }
  const child = spawn(path, process.argv.slice(1), { stdio: 'inherit' });
  // A terminal sends its signals to both; those sent to this process alone are passed on.
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  process.on('SIGINT', () => {
    if (!process.stdin.isTTY) child.kill('SIGINT');
  });
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

function bundledNode(from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, 'node_modules', 'node', 'bin', 'node');
    if (existsSync(path)) return path;
    if (folder === dirname(folder)) return undefined;
  }
}
