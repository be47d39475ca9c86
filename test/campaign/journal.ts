import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** One process of the fake Claude, as it wrote it down itself. Times are in ns of CLOCK_MONOTONIC. */
export interface JournalRun {
  runId: string;
  pid: number;
  servicePid: number;
  start: bigint;
  /** Undefined for one that was killed. */
  end: bigint | undefined;
  /** What another live process held when it started: `workspace`, `session`. */
  overlaps: string[];
}

export async function readJournal(path: string): Promise<JournalRun[]> {
  const runs = new Map<string, JournalRun>();
  if (!existsSync(path)) return [];
  for (const line of (await readFile(path, 'utf8')).split('\n').filter((text) => text !== '')) {
    const [what, runId = '', pid = '', ...rest] = line.split(' ');
    const key = `${runId} ${pid}`;
    if (what === 'start') {
      const [servicePid = '', start = ''] = rest;
      const run = { runId, pid: Number(pid), servicePid: Number(servicePid), start: BigInt(start) };
      runs.set(key, { ...run, end: undefined, overlaps: [] });
      continue;
    }
    const run = runs.get(key);
    if (run === undefined) throw new Error(`the journal has ${what} of a run that has not started: ${line}`);
    const [detail = ''] = rest;
    if (what === 'end') run.end = BigInt(detail);
    else run.overlaps.push(detail);
  }
  return [...runs.values()];
}
