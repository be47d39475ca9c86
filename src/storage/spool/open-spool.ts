import { join } from 'node:path';
import { ServiceError } from '../../protocol/errors.ts';
import { makeFolder } from '../make-folder.ts';
import type { Storage } from '../storage.ts';
import { type SpoolingStorageOptions, spoolingStorage } from './spooling-storage.ts';

/** More processes than this on one data folder have something else wrong with them. */
const MAX_FOLDERS = 256;

/**
 * A spool in the first folder `<parent>/1`, `2` … that no living process has. Processes that share a data folder each
 * have one of their own in this way, and after a restart each takes one that was left, with what is in it.
 * @throws ServiceError as `spoolingStorage`
 */
export async function openSpool(
  storage: Storage,
  { parent, ...options }: Omit<SpoolingStorageOptions, 'folder'> & { parent: string },
): Promise<Storage> {
  makeFolder(parent, 0o700);
  for (let number = 1; ; number += 1) {
    try {
      return await spoolingStorage(storage, { ...options, folder: join(parent, String(number)) });
    } catch (error) {
      const taken = error instanceof ServiceError && error.code === 'data_folder_unusable' && number < MAX_FOLDERS;
      if (!taken) throw error;
    }
  }
}
