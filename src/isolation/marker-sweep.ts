import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** The environment variable that every process of a run carries; its value is the run's id. */
export const RUN_MARKER = 'CC_RUN_ID';

/** An exact entry `name=value` in a process's environment. */
export interface Marker {
  name: string;
  value: string;
}

const SWEEP_LIMIT_MS = 5_000;
const POLL_MS = 5;
/** What `/proc` answers for a process that has ended or whose environment the kernel hides from us. */
const UNREADABLE = new Set(['EACCES', 'EPERM', 'ESRCH', 'ENOENT']);

/**
 * The pids of the live processes that carry the marker, this one left out. It does not see processes whose
 * environment the kernel hides (another uid, an unreadable program) or that were started with an empty one, and
 * nothing at all where there is no `/proc`.
 */
export async function findMarked(marker: Marker): Promise<number[]> {
  const entry = Buffer.from(`\0${marker.name}=${marker.value}\0`);
  const pids: number[] = [];
  for (const pid of await listPids()) {
    if (pid !== process.pid && (await environmentOf(pid)).includes(entry)) {
      pids.push(pid);
    }
  }
  return pids;
}

/**
 * Kills every process that carries the marker: the net below the launcher, for when it was killed itself. All are
 * stopped before any is killed, so that none forks meanwhile; repeated until none is found or 5 seconds have passed.
 * @returns how many processes were killed
 */
export async function sweepMarked(marker: Marker): Promise<number> {
  const deadline = performance.now() + SWEEP_LIMIT_MS;
  const swept = new Set<number>();
  for (let found = await findMarked(marker); found.length > 0; found = await findMarked(marker)) {
    for (const signal of ['SIGSTOP', 'SIGKILL'] as const) {
      for (const pid of found) {
        send(pid, signal);
        swept.add(pid);
      }
    }
    if (performance.now() > deadline) {
      break;
    }
    await delay(POLL_MS);
  }
  return swept.size;
}

async function listPids(): Promise<number[]> {
  try {
    return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  } catch (error) {
    if (hasCode(error, new Set(['ENOENT']))) {
      return [];
    }
    throw error;
  }
}

/** The environment with a NUL on both sides of every entry; empty for a zombie. */
async function environmentOf(pid: number): Promise<Buffer> {
  try {
    const environment = await readFile(`/proc/${pid}/environ`);
    return Buffer.concat([Buffer.of(0), environment, Buffer.of(0)]);
  } catch (error) {
    if (hasCode(error, UNREADABLE)) {
      return Buffer.alloc(0);
    }
    throw error;
  }
}

function send(pid: number, signal: 'SIGSTOP' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!hasCode(error, new Set(['ESRCH', 'EPERM']))) {
      throw error;
    }
  }
}

function hasCode(error: unknown, codes: ReadonlySet<string>): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.has(error.code);
}
