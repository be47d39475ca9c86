import type { DatabaseSync } from 'node:sqlite';
import { ServiceError } from '../../protocol/errors.ts';
import type { CommitQueue } from './commit-queue.ts';
import { translateError } from './translate-error.ts';

/** How the parts of the store get at it. Both throw `ServiceError` `storage_unavailable`, and what is thrown inside. */
export interface StoreAccess {
  write: CommitQueue['submit'];
  read<T>(read: () => T | Promise<T>): Promise<T>;
}

export function createStoreAccess(
  db: DatabaseSync,
  { file, queue }: { file: string; queue: CommitQueue },
): StoreAccess {
  return {
    write: (write, options) => queue.submit(write, options),
    async read<T>(read: () => T | Promise<T>): Promise<T> {
      if (!db.isOpen) {
        throw new ServiceError('storage_unavailable', `The store ${file} is closed.`);
      }
      try {
        return await read();
      } catch (error) {
        throw translateError(error, file);
      }
    },
  };
}
