import { ServiceError } from '../../protocol/errors.ts';

/** Primary result codes, https://sqlite.org/rescode.html. */
const BUSY = 5;
const FULL = 13;
const IOERR = 10;
const DAMAGED: ReadonlySet<number> = new Set([11, 26]);
/** PERM, BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, NOLFS. */
const UNAVAILABLE: ReadonlySet<number> = new Set([3, BUSY, 6, 8, IOERR, FULL, 14, 22]);
const RETRY_AFTER_MS = 2_000;
const CHOOSE_ANOTHER = 'choose a local, writable folder that this user owns';

/** The primary SQLite result code of an error thrown by `node:sqlite`, else `undefined`. */
export function sqliteCode(error: unknown): number | undefined {
  if (error instanceof Error && 'errcode' in error && typeof error.errcode === 'number') {
    return error.errcode & 0xff;
  }
  return undefined;
}

/** The errno name of a file system error (`ENOSPC`), else `undefined`. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
    return error.code;
  }
  return undefined;
}

function isSystemError(error: unknown): boolean {
  return /^E[A-Z0-9]+$/.test(errnoOf(error) ?? '');
}

export function isBusy(error: unknown): boolean {
  return sqliteCode(error) === BUSY;
}

/** Whether room on the disk could cure it. A full disk shows as IOERR too: in fsync, or while the -shm file grows. */
export function isDiskFull(error: unknown): boolean {
  const code = sqliteCode(error);
  const errno = errnoOf(error);
  return code === FULL || code === IOERR || errno === 'ENOSPC' || errno === 'EDQUOT';
}

/** Whether the medium failed, as against a statement that the data refuses. */
export function isStorageFailure(error: unknown): boolean {
  const code = sqliteCode(error);
  return code !== undefined && (UNAVAILABLE.has(code) || DAMAGED.has(code));
}

/** Turns a failure of the medium into its `ServiceError`; everything else comes back as it is. */
export function translateError(error: unknown, file: string): unknown {
  const code = sqliteCode(error);
  if (code !== undefined && DAMAGED.has(code)) {
    const remedy = 'restore it from a backup, or move it away';
    return dataFolderUnusable(file, `the store is damaged (${reason(error)})`, { cause: error, remedy });
  }
  return isStorageFailure(error) || isSystemError(error) ? unavailable(file, error) : error;
}

/** Turns what can go wrong while a store is opened into its `ServiceError`; a defect comes back as it is. */
export function translateOpenError(error: unknown, file: string): unknown {
  if (isDiskFull(error) || isBusy(error)) {
    return unavailable(file, error);
  }
  const code = sqliteCode(error);
  if ((code !== undefined && UNAVAILABLE.has(code)) || isSystemError(error)) {
    return dataFolderUnusable(file, reason(error), { cause: error });
  }
  return translateError(error, file);
}

function unavailable(file: string, cause: unknown): ServiceError {
  const message = `The store ${file} does not take this now: ${reason(cause)}. Free disk space or make it writable; the same request may succeed later.`;
  return new ServiceError('storage_unavailable', message, { cause, data: { retryAfterMs: RETRY_AFTER_MS } });
}

/** The refusal of a data folder: which file, why, and what to do. */
export function dataFolderUnusable(
  file: string,
  why: string,
  { cause, remedy = CHOOSE_ANOTHER }: { cause?: unknown; remedy?: string } = {},
): ServiceError {
  return new ServiceError('data_folder_unusable', `The data folder cannot be used at ${file}: ${why}; ${remedy}.`, {
    cause,
  });
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
