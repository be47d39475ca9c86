import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';

const RETRY_MS = 100;
/** Longer than a refresh takes, which is ended after 60 s. */
const WAIT_MS = 75_000;
/** https://sqlite.org/rescode.html#busy */
const BUSY = 5;

/**
 * Waits until no other process refreshes a login that is kept in this data folder, and keeps others from it until the
 * returned function is called. It is a lock on a file that the kernel drops when its holder dies; this is true across
 * containers, where process ids say nothing. One that is held for longer than any refresh takes is passed by.
 */
export async function lockRefresh(dataDirectory: string): Promise<() => void> {
  const deadline = performance.now() + WAIT_MS;
  const file = join(dataDirectory, 'login-refresh.lock');
  createPrivately(file);
  const db = new DatabaseSync(file, { timeout: 0 });
  while (!tryLock(db) && performance.now() < deadline) await delay(RETRY_MS);
  return () => db.close();
}

/** Who could open it could lock it; and closing a file that exists would drop the locks that this process has on it. */
function createPrivately(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

function tryLock(db: DatabaseSync): boolean {
  try {
    db.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === BUSY) return false;
    throw error;
  }
}
