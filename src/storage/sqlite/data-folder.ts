import { closeSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { makeFolder } from '../make-folder.ts';
import { migrate, refuseNewerSchema } from './schema.ts';
import { dataFolderUnusable, errnoOf, isBusy, translateOpenError } from './translate-error.ts';

const OPEN_DEADLINE_MS = 10_000;
const OPEN_RETRY_MS = 20;
const WAIT_FOR_WRITER_MS = 50;
const MAX_WAL_BYTES = 64 * 1024 * 1024;

/**
 * Makes the data folder (0711: a run under another user passes through it) with its store file (0600; SQLite gives
 * -wal and -shm the same mode), and opens the store in its newest layout.
 * @throws ServiceError `data_folder_unusable`, `storage_newer`, `storage_unavailable`
 */
export async function openStore(dataDirectory: string): Promise<DatabaseSync> {
  const file = storeFile(dataDirectory);
  const deadline = Date.now() + OPEN_DEADLINE_MS;
  for (;;) {
    try {
      makeFolder(dataDirectory, 0o711);
      makeFolder(instancesFolder(dataDirectory), 0o700);
      createStoreFile(file);
      refuseNewerStore(file);
      return openDatabase(file);
    } catch (error) {
      // The first opener holds the whole file while it switches to WAL, and SQLite does not wait for that by itself.
      if (!isBusy(error) || Date.now() > deadline) {
        throw translateOpenError(error, file);
      }
    }
    await delay(OPEN_RETRY_MS);
  }
}

export function storeFile(dataDirectory: string): string {
  return join(dataDirectory, 'store.sqlite');
}

export function instancesFolder(dataDirectory: string): string {
  return join(dataDirectory, 'instances');
}

/**
 * Never opens a file that exists: closing any descriptor of it would drop the POSIX locks that another connection of
 * this process holds on it (https://sqlite.org/howtocorrupt.html, section 2.2).
 */
function createStoreFile(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') {
      throw error;
    }
  }
}

/** A connection that cannot write looks first, so that a newer store is left as it is, byte for byte. */
function refuseNewerStore(file: string): void {
  const status = statSync(file);
  if (!status.isFile()) {
    throw dataFolderUnusable(file, 'it is not a file');
  }
  if (status.size === 0) {
    return;
  }
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    refuseNewerSchema(db, file);
  } finally {
    db.close();
  }
}

function openDatabase(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: WAIT_FOR_WRITER_MS });
  try {
    db.exec('PRAGMA journal_mode = WAL');
    db.exec('PRAGMA synchronous = FULL');
    db.exec(`PRAGMA journal_size_limit = ${MAX_WAL_BYTES}`);
    migrate(db, file);
  } catch (error) {
    db.close();
    throw error;
  }
  return db;
}
