import { ServiceError } from '../protocol/errors.ts';

const MAX_PATH_BYTES = 4_096;
const MAX_NAME_BYTES = 255;
/** The deepest that a path may lead, so that a walk over everything needs no more open directories than that. */
export const MAX_PARTS = 128;

/**
 * The name of a file as the system has it, one character for each byte. Names need not be UTF-8, and two that differ
 * must not become the same. Sorted as strings, such names are in byte order.
 */
export type RawName = string;

export function rawName(text: string): RawName {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** The name as text; what is not UTF-8 becomes U+FFFD. */
export function shownName(name: RawName): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}

/** A path for a message or an answer; `''` is the workspace itself. */
export function shownPath(names: readonly RawName[]): string {
  return names.map(shownName).join('/');
}

/**
 * The parts of a path that a caller gave: relative to the workspace, parts divided by `/`, a single slash at the end
 * allowed, `''` for the workspace itself. A backslash is a character like any other.
 * @throws ServiceError `invalid_request` with the path `path`
 */
export function parsePath(path: string): RawName[] {
  const problem = pathProblem(path);
  if (problem === undefined) return partsOf(path).map(rawName);
  throw new ServiceError('invalid_request', `path ${problem}`, {
    data: { errors: [{ path: 'path', message: problem }] },
  });
}

/** What makes this no path inside a workspace, in words that follow its name. */
export function pathProblem(path: string): string | undefined {
  if (!path.isWellFormed()) return 'holds a lone surrogate; it is not valid Unicode text';
  if (path.includes('\0')) return 'holds a NUL character';
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  if (path.startsWith('/')) return 'is absolute; give one that is relative to the workspace';
  const parts = partsOf(path);
  if (parts.length > MAX_PARTS) return `has more than ${MAX_PARTS} parts`;
  for (const part of parts) {
    if (part === '') return 'has an empty part between two slashes';
    if (part === '.' || part === '..') return `has the part ${part}; give the path without it`;
    if (Buffer.byteLength(part) > MAX_NAME_BYTES) return `has a part that is longer than ${MAX_NAME_BYTES} bytes`;
  }
  return undefined;
}

function partsOf(path: string): string[] {
  const bare = path.endsWith('/') ? path.slice(0, -1) : path;
  return bare === '' ? [] : bare.split('/');
}
