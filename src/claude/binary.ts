import { access, constants, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { execa } from 'execa';

/** The version this release is measured with; see docs/adr/0002. */
export const PINNED_VERSION = '2.1.330';

export type ClaudeBinary =
  | { usable: true; path: string; version: string; warning: string | undefined }
  | { usable: false; path: string; problem: string };

const VERSION_LIMIT_MS = 5_000;

/**
 * Where the pinned program lies. The platform package holds the one native binary; it is used directly, because the
 * wrapper package's own `bin` is a stub where install scripts did not run (measured, 2.1.330).
 */
export function pinnedBinaryPath(): string | undefined {
  const require = createRequire(import.meta.url);
  const platforms = [`${process.platform}-${process.arch}`, `${process.platform}-${process.arch}-musl`];
  for (const platform of platforms) {
    try {
      return join(dirname(require.resolve(`@anthropic-ai/claude-code-${platform}/package.json`)), 'claude');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND')) throw error;
    }
  }
  return undefined;
}

/**
 * Finds the program and asks its version (10–15 ms). Every way of failing says what to do. One that does not tell a
 * version may still speak the protocol, so it is only warned of.
 */
export async function findClaude(configured: string | undefined): Promise<ClaudeBinary> {
  const path = configured ?? pinnedBinaryPath();
  if (path === undefined) {
    const problem = `There is no claude program for ${process.platform}-${process.arch}; run npm ci, or set CLAUDE_BIN`;
    return { usable: false, path: '(not found)', problem };
  }
  const problem = await whyNotExecutable(path, configured === undefined ? 'run npm ci again' : 'correct CLAUDE_BIN');
  return problem === undefined ? askVersion(path) : { usable: false, path, problem };
}

async function whyNotExecutable(path: string, repair: string): Promise<string | undefined> {
  try {
    if (!(await stat(path)).isFile()) return `${path} is not a file; ${repair}`;
    await access(path, constants.X_OK);
    return undefined;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EACCES') return `${path} may not be executed by this user; chmod +x it, or ${repair}`;
    if (code === 'ENOENT' || code === 'ENOTDIR') return `${path} does not exist; ${repair}`;
    throw error;
  }
}

async function askVersion(path: string): Promise<ClaudeBinary> {
  const asked = await execa(path, ['--version'], {
    reject: false,
    timeout: VERSION_LIMIT_MS,
    stdin: 'ignore',
    extendEnv: false,
    env: { PATH: programPath(), DISABLE_AUTOUPDATER: '1' },
    maxBuffer: 64 * 1024,
  });
  const version = /^(\d+)\.(\d+\.\d+\S*) \(Claude Code\)/.exec(asked.stdout);
  if (version === null) {
    const said = (asked.stdout || asked.stderr || asked.shortMessage || 'nothing').slice(0, 200);
    const warning = `${path} --version does not answer like Claude Code, but: ${said}; check CLAUDE_BIN`;
    return { usable: true, path, version: 'unknown', warning };
  }
  const number = `${version[1]}.${version[2]}`;
  if (version[1] !== '2') {
    const problem = `${path} is Claude Code ${number}; this release drives version 2 (tested with ${PINNED_VERSION})`;
    return { usable: false, path, problem };
  }
  const warning =
    number === PINNED_VERSION
      ? undefined
      : `Claude Code ${number} was not tested with this release; ${PINNED_VERSION} was`;
  return { usable: true, path, version: number, warning };
}

/** A program written as a Node script finds its interpreter where this process has its own. */
function programPath(): string {
  return `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`;
}
