import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { ServiceError } from '../protocol/errors.ts';

/**
 * Makes the data folder of a service whose records are elsewhere; 0711: a run under another user passes through it.
 * @throws ServiceError `data_folder_unusable`
 */
export function makeDataFolder(path: string): void {
  try {
    makeFolder(path, 0o711);
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause)) throw cause;
    const message = `The data folder cannot be used at ${path}: ${cause.message}; choose a local, writable folder that this user owns.`;
    throw new ServiceError('data_folder_unusable', message, { cause });
  }
}

/** Not by `recursive: true`: Node's never returns where the system says ENOENT for a parent that is there, as /proc does. */
export function makeFolder(path: string, mode: number): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    return;
  }
  if (dirname(path) !== path) {
    makeFolder(dirname(path), mode);
  }
  try {
    mkdirSync(path, { mode });
    chmodSync(path, mode);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST') || !statSync(path).isDirectory()) {
      throw error;
    }
  }
}
