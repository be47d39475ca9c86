import type { Stats } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Listing, WorkspaceEntry } from '../protocol/http-schemas.ts';
import type { Directory } from './directory.ts';
import { readNames, statEntry } from './directory.ts';
import { shownName } from './workspace-path.ts';

const MAX_LISTED = 10_000;
const ENTRIES_A_TURN = 1_000;
/** The last millisecond that RFC 3339 can write. A file may claim any time. */
const LATEST = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
const EARLIEST = new Date(0).setUTCFullYear(0, 0, 1);

/**
 * What a directory holds, in the byte order of names; at most 10,000 entries, those that the system gives first. Names
 * that are not UTF-8 are shown with U+FFFD. What disappears meanwhile is left out. Sizes are those of files; 0 for all
 * else.
 */
export async function listDirectory(directory: Directory, shown: string): Promise<Listing> {
  const { names, truncated } = await readNames(directory, MAX_LISTED);
  const entries: WorkspaceEntry[] = [];
  for (const [index, name] of names.entries()) {
    if (index % ENTRIES_A_TURN === ENTRIES_A_TURN - 1) await nextTurn();
    const stats = statEntry(directory, name);
    if (stats !== undefined) entries.push({ name: shownName(name), ...entryOf(stats) });
  }
  return { path: shown, entries, truncated };
}

export function kindOf(stats: Stats): WorkspaceEntry['kind'] {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  return stats.isSymbolicLink() ? 'link' : 'other';
}

function entryOf(stats: Stats): Omit<WorkspaceEntry, 'name'> {
  const modified = Math.min(Math.max(stats.mtimeMs, EARLIEST), LATEST);
  return {
    kind: kindOf(stats),
    size: stats.isFile() ? stats.size : 0,
    modifiedAt: new Date(modified).toISOString(),
  };
}
