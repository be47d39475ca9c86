import { ServiceError } from '../../protocol/errors.ts';

/** Whether the store failed, as against refusing what it was asked. */
export function isAway(error: unknown): boolean {
  return error instanceof ServiceError && error.code === 'storage_unavailable';
}
