import { readdirSync, readFileSync } from 'node:fs';

/** The kernel counts CPU time in hundredths of a second here, on every platform it runs on (proc_pid_stat(5)). */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

export interface ProcessFigures {
  pid: number;
  parent: number;
  /** User and system time of all its threads so far, in seconds. */
  cpuSeconds: number;
  residentBytes: number;
}

/** What the kernel says of a process; undefined when there is none. Linux alone. */
export function processFigures(pid: number): ProcessFigures | undefined {
  const text = readIfThere(`/proc/${pid}/stat`);
  // The name of a process may hold spaces and brackets: what counts stands after the last bracket.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  if (fields === undefined) return undefined;
  const field = (number: number): number => Number(fields[number - 3]);
  return {
    pid,
    parent: field(4),
    cpuSeconds: (field(14) + field(15)) / TICKS_PER_SECOND,
    residentBytes: field(24) * PAGE_BYTES,
  };
}

/** All processes below one: those it started, and those that they started. */
export function descendants(pid: number): { children: ProcessFigures[]; grandchildren: ProcessFigures[] } {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => processFigures(Number(name)) ?? []);
  const children = all.filter(({ parent }) => parent === pid);
  const pids = new Set(children.map((child) => child.pid));
  return { children, grandchildren: all.filter(({ parent }) => pids.has(parent)) };
}

/**
 * CPU time of processes with one thread, in seconds, to the nanosecond: a hundredth is too coarse for those that
 * hardly run (proc-schedstat in the kernel's documentation).
 */
export function exactCpuSeconds(processes: readonly ProcessFigures[]): number {
  const nanoseconds = processes.map(({ pid }) => Number(readIfThere(`/proc/${pid}/schedstat`)?.split(' ')[0] ?? 0));
  return nanoseconds.reduce((sum, each) => sum + each, 0) / 1e9;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    // ESRCH: it ended while it was read.
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return undefined;
    throw error;
  }
}
