import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
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
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  // A terminal sends its Ctrl-C to both, and a second one would mean to leave at once.
  process.on('SIGINT', () => {
    if (!belowTerminal()) child.kill('SIGINT');
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

/** Whether this process has a controlling terminal, whatever its streams are. */
function belowTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENXIO' || error.code === 'ENOENT')) return false;
    throw error;
  }
}

function bundledNode(from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, 'node_modules', 'node', 'bin', 'node');
    if (existsSync(path)) return path;
    if (folder === dirname(folder)) return undefined;
  }
}
