import type { ErrorCode } from '../protocol/errors.ts';
import { ServiceError } from '../protocol/errors.ts';

const SHOWN_CHARACTERS = 200;

/** What a refusal of the file system says to the caller; the words follow the path. */
const REFUSALS: Readonly<Record<string, { code: ErrorCode; text: string }>> = {
  ENOENT: { code: 'not_found', text: 'does not exist in this workspace' },
  ELOOP: { code: 'conflict', text: 'is a link, and links are not followed' },
  ENOTDIR: { code: 'conflict', text: 'is not a folder' },
  EISDIR: { code: 'conflict', text: 'is a folder' },
  ENOTEMPTY: { code: 'conflict', text: 'is a folder' },
  EEXIST: { code: 'conflict', text: 'exists already' },
  ENXIO: { code: 'conflict', text: 'is not a file' },
  ENODEV: { code: 'conflict', text: 'is not a file' },
  EACCES: { code: 'conflict', text: 'is closed to the service; its owner or mode does not let it in' },
  EPERM: { code: 'conflict', text: 'is closed to the service; its owner or mode does not let it in' },
  EROFS: { code: 'conflict', text: 'lies on a file system that takes no writes' },
  ENAMETOOLONG: { code: 'invalid_request', text: 'is longer than the file system takes' },
  EFBIG: { code: 'payload_too_large', text: 'is larger than the file system takes' },
  ENOSPC: { code: 'storage_unavailable', text: 'cannot be written: no space is left' },
  EDQUOT: { code: 'storage_unavailable', text: 'cannot be written: no space is left' },
};

export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** The refusal for an error of the file system at `path`; anything else is given back as it is. */
export function fileError(error: unknown, path: string): unknown {
  const errno = errnoOf(error);
  if (error instanceof ServiceError || errno === undefined || !Object.hasOwn(REFUSALS, errno)) return error;
  return refusal(errno, path, error);
}

/** @param errno one of the table; another one is a defect */
export function refusal(errno: string, path: string, cause?: unknown): ServiceError {
  const found = REFUSALS[errno];
  if (found === undefined) throw new Error(`There is no refusal for ${errno}`);
  const data = found.code === 'invalid_request' ? { errors: [{ path: 'path', message: found.text }] } : {};
  return new ServiceError(found.code, `${shortened(path)} ${found.text}`, { cause, data });
}

export function notAFile(path: string): ServiceError {
  return refusal('ENXIO', path);
}

/** A path or name that came from outside, short enough for a message. */
export function shortened(path: string): string {
  if (path === '') return 'The workspace';
  return path.length > SHOWN_CHARACTERS ? `${path.slice(0, SHOWN_CHARACTERS)}…` : path;
}
