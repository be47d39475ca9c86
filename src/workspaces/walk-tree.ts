import type { Stats } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ServiceError } from '../protocol/errors.ts';
import type { Directory } from './directory.ts';
import { openChild, readNames, statEntry } from './directory.ts';
import type { RawName } from './workspace-path.ts';
import { MAX_PARTS, shownPath } from './workspace-path.ts';

const MAX_ENTRIES = 1_000_000;
/** The workspace itself, and as many folders as a path can name. Each level holds one open directory. */
const MAX_LEVELS = MAX_PARTS + 1;
/** The entries that are looked at before other work has its turn. */
const ENTRIES_A_TURN = 1_000;

export interface TreeEntry {
  names: readonly RawName[];
  name: RawName;
  /** The open directory that the entry lies in; closed when the walk goes on. */
  parent: Directory;
  stats: Stats;
}

interface Level {
  directory: Directory;
  path: readonly RawName[];
  /** In reverse: the next one is the last. */
  names: RawName[];
}

/**
 * Everything below a directory: each directory before what it holds, names in byte order, links not followed. What
 * disappears meanwhile, and what lies in directories that are closed to the service, is left out.
 * @throws ServiceError `conflict` for a tree of more than 1,000,000 entries or 128 folders deep
 */
export async function* walkTree(root: Directory): AsyncGenerator<TreeEntry> {
  const levels: Level[] = [];
  let seen = 0;
  const enter = async (directory: Directory, path: readonly RawName[]): Promise<void> => {
    levels.push({ directory, path, names: [] });
    if (levels.length > MAX_LEVELS) throw tooMuch(`is nested deeper than ${MAX_PARTS} folders`);
    const { names, truncated } = await readNames(directory, MAX_ENTRIES - seen);
    if (truncated) throw tooMuch(`holds more than ${MAX_ENTRIES} files and folders`);
    seen += names.length;
    levels.splice(-1, 1, { directory, path, names: names.reverse() });
  };
  try {
    await enter(await openChild(root, '.', ''), []);
    let looked = 0;
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const name = level.names.pop();
      if (name === undefined) {
        levels.pop();
        await level.directory.handle.close();
        continue;
      }
      looked += 1;
      if (looked % ENTRIES_A_TURN === 0) await nextTurn();
      const stats = statEntry(level.directory, name);
      if (stats === undefined) continue;
      const names = [...level.path, name];
      yield { names, name, parent: level.directory, stats };
      const child = stats.isDirectory() ? await openUnlessClosed(level.directory, name, names) : undefined;
      if (child !== undefined) await enter(child, names);
    }
  } finally {
    for (const { directory } of levels) await directory.handle.close();
  }
}

/** The bytes of all files below a directory, each as long as it says it is. */
export async function sizeOfTree(root: Directory): Promise<number> {
  let bytes = 0;
  for await (const { stats } of walkTree(root)) if (stats.isFile()) bytes += stats.size;
  return bytes;
}

async function openUnlessClosed(
  parent: Directory,
  name: RawName,
  names: readonly RawName[],
): Promise<Directory | undefined> {
  try {
    return await openChild(parent, name, shownPath(names));
  } catch (error) {
    if (error instanceof ServiceError) return undefined;
    throw error;
  }
}

function tooMuch(what: string): ServiceError {
  return new ServiceError('conflict', `The workspace ${what}, which is more than the service walks through`);
}
