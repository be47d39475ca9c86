import { chmod, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Uuid } from '../../protocol/uuid.ts';
import { dataFolderUnusable, errnoOf, isBusy } from '../sqlite/translate-error.ts';

const SPOOLED = '.jsonl';
const REFUSED = '.refused';
const REFUSED_KEPT_MS = 7 * 24 * 3_600_000;

export interface SpoolFolder {
  /** The path of an execution's spool file; `undefined` for an id that is none of the service's. */
  fileOf(executionId: string): string | undefined;
  refusedFileOf(executionId: string): string;
  /** Spool files that are there, with their sizes in bytes. */
  leftovers(): Promise<{ executionId: string; path: string; size: number }[]>;
  /** Removes refused files that are older than 7 days, and the oldest of the others while they hold over `maxBytes`. */
  pruneRefused(maxBytes: number): Promise<void>;
  /** Lets another process have the folder. */
  release(): void;
}

/**
 * Makes the folder (0700) and takes it for this process.
 * @throws ServiceError `data_folder_unusable`, also when another living process has it
 */
export async function openSpoolFolder(folder: string): Promise<SpoolFolder> {
  const lock = await take(folder);
  const pathOf = (executionId: string, ending: string): string => join(folder, executionId + ending);
  return {
    fileOf: (executionId) => (Uuid.safeParse(executionId).success ? pathOf(executionId, SPOOLED) : undefined),
    refusedFileOf: (executionId) => pathOf(executionId, REFUSED),
    leftovers: () => filesIn(folder, SPOOLED),
    pruneRefused: (maxBytes) => pruneRefused(folder, maxBytes),
    release: () => (lock.isOpen ? lock.close() : undefined),
  };
}

/** The kernel drops the lock when the process dies. */
async function take(folder: string): Promise<DatabaseSync> {
  let lock: DatabaseSync | undefined;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
    lock = new DatabaseSync(join(folder, 'lock'), { timeout: 0 });
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock?.close();
    if (isBusy(error)) {
      const remedy = 'give each service process on this machine a folder of its own';
      throw dataFolderUnusable(folder, 'another process spools there', { cause: error, remedy });
    }
    const why = error instanceof Error ? error.message : String(error);
    throw dataFolderUnusable(folder, why, { cause: error });
  }
}

interface Found {
  executionId: string;
  path: string;
  size: number;
  modifiedMs: number;
}

async function filesIn(folder: string, ending: string): Promise<Found[]> {
  const found: Found[] = [];
  for (const name of await readdir(folder)) {
    const executionId = name.slice(0, -ending.length);
    if (!name.endsWith(ending) || !Uuid.safeParse(executionId).success) continue;
    const path = join(folder, name);
    const status = await statusOf(path);
    if (status !== undefined) found.push({ executionId, path, size: status.size, modifiedMs: status.mtimeMs });
  }
  return found;
}

/** `undefined` for a file that somebody has removed meanwhile. */
async function statusOf(path: string): Promise<{ size: number; mtimeMs: number } | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function pruneRefused(folder: string, maxBytes: number): Promise<void> {
  const newestFirst = (await filesIn(folder, REFUSED)).sort((a, b) => b.modifiedMs - a.modifiedMs);
  let kept = 0;
  for (const { path, size, modifiedMs } of newestFirst) {
    kept += size;
    if (kept > maxBytes || modifiedMs < Date.now() - REFUSED_KEPT_MS) await rm(path, { force: true });
  }
}
