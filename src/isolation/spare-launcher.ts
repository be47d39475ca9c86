import { type ChildProcess, spawn } from 'node:child_process';
import { LAUNCHER_PATH } from './launcher-arguments.ts';

/** Long enough after a run was started that making the next launcher does not slow its first words. */
const REFILL_AFTER_MS = 300;

/**
 * Keeps one launcher started ahead, so that a run does not wait for Perl (some 10 ms, measured). It knows nothing of a run
 * until it is told; what it is told goes to that one launcher alone.
 */
export class SpareLauncher {
  readonly #perl: string;
  #child: ChildProcess | undefined;
  #refill: NodeJS.Timeout | undefined;
  #state: 'open' | 'closed' = 'open';

  constructor(perl = '/usr/bin/perl') {
    this.#perl = perl;
  }

  /** The launcher that waits, if there is one and it lives; another one is made for the next run. */
  take(): ChildProcess | undefined {
    const child = this.#child;
    this.#child = undefined;
    clearTimeout(this.#refill);
    if (this.#state === 'open') this.#refill = setTimeout(() => this.#start(), REFILL_AFTER_MS).unref();
    const lives = child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
    return lives ? child : undefined;
  }

  close(): void {
    this.#state = 'closed';
    clearTimeout(this.#refill);
    this.#child?.stdio.forEach((stream) => void stream?.destroy());
    this.#child = undefined;
  }

  #start(): void {
    const child = spawn(this.#perl, [LAUNCHER_PATH, '--wait', '--parent', String(process.pid)], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    });
    // One that cannot start is not taken; the run then starts its own, and reports why that fails.
    child.on('error', () => {});
    child.unref();
    for (const stream of child.stdio) {
      if (stream != null && 'unref' in stream && typeof stream.unref === 'function') stream.unref();
    }
    this.#child = child;
  }
}

/** What tells a waiting launcher its run; see `wait_for_start` in launcher.pl. Throws for a NUL, as `spawn` does. */
export function startMessage(
  argv: readonly string[],
  command: { cwd: string; env: Readonly<Record<string, string>> },
): Buffer {
  const environment = Object.entries(command.env).map(([name, value]) => `${name}=${value}`);
  const fields = [command.cwd, String(argv.length), ...argv, ...environment];
  if (fields.some((field) => field.includes('\0')))
    throw new Error('A NUL cannot be in a command, a folder or an environment');
  const body = Buffer.from(fields.map((field) => `${field}\0`).join(''));
  return Buffer.concat([Buffer.from(`start ${body.length}\n`), body]);
}
