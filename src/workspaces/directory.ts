import type { Stats } from 'node:fs';
import { constants, existsSync, lstatSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, opendir, realpath } from 'node:fs/promises';
import { errnoOf, fileError, refusal } from './file-error.ts';
import type { RawName } from './workspace-path.ts';
import { rawName, shownName, shownPath } from './workspace-path.ts';

const OPEN_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const DESCRIPTORS = '/proc/self/fd';
const UNREADABLE = new Set(['EACCES', 'EPERM']);

/**
 * An open directory of a workspace. Whoever works in the workspace may rename and replace everything while the
 * service walks there, so a path is never looked up twice: an entry is reached as `/proc/self/fd/N/NAME`, which the
 * kernel resolves from the open directory whatever has become of its path (openat(2) by another name).
 *
 * Where there is no `/proc`, entries are reached by path, and each directory is compared with its real path when it is
 * opened. That finds links that are there, and is weaker: it does not hold against a swap between check and use.
 */
export interface Directory extends AsyncDisposable {
  readonly handle: FileHandle;
  /** Its real path, where entries are reached by path; undefined where they are reached by the handle. */
  readonly realPath: RawName | undefined;
  /** The uid that the workspace's own directory belongs to. */
  readonly workspaceUid: number;
}

export function entryPath(directory: Directory, name: RawName): Buffer {
  return Buffer.from(`${baseOf(directory)}/${name}`, 'latin1');
}

/** The number of a closed handle may be that of any other file by now. */
function baseOf({ handle, realPath }: Directory): RawName {
  if (handle.fd < 0) throw new Error('A directory is used after it was closed');
  return realPath ?? `${DESCRIPTORS}/${handle.fd}`;
}

/**
 * Opens the directory that a workspace is. The path above it belongs to the service or the operator and is trusted;
 * the directory itself must not be a link.
 * @throws the errors of open(2)
 */
export async function openRoot(path: string): Promise<Directory> {
  await using opened = new AsyncDisposableStack();
  const handle = opened.use(await open(path, OPEN_DIRECTORY));
  const { uid } = await handle.stat();
  const byHandle = process.platform === 'linux' && existsSync(DESCRIPTORS);
  const real = byHandle ? undefined : rawName(await realpath(path));
  opened.move();
  return { handle, realPath: real, workspaceUid: uid, [Symbol.asyncDispose]: () => handle.close() };
}

/**
 * Opens a directory in an open one; `.` opens that one again.
 * @throws ServiceError `not_found`, `conflict` (a link, not a folder, closed to the service)
 */
export async function openChild(parent: Directory, name: RawName, shown: string): Promise<Directory> {
  const path = entryPath(parent, name);
  await using opened = new AsyncDisposableStack();
  const handle = opened.use(
    await open(path, OPEN_DIRECTORY).catch((error: unknown) => {
      // Linux says ENOTDIR for a link too.
      const isLink = errnoOf(error) === 'ENOTDIR' && statEntry(parent, name)?.isSymbolicLink() === true;
      throw isLink ? refusal('ELOOP', shown, error) : fileError(error, shown);
    }),
  );
  const real = parent.realPath === undefined ? undefined : await checkedPath(parent.realPath, name, shown);
  opened.move();
  return { ...parent, handle, realPath: real, [Symbol.asyncDispose]: () => handle.close() };
}

/** Opens the directory at the end of `names`, one at a time, each from the one before; all others are closed again. */
export async function descend(
  root: Directory,
  names: readonly RawName[],
  step: (parent: Directory, name: RawName, shown: string) => Promise<Directory> = openChild,
): Promise<Directory> {
  let current = await openChild(root, '.', '');
  for (const [index, name] of names.entries()) {
    await using left = current;
    current = await step(left, name, shownPath(names.slice(0, index + 1)));
  }
  return current;
}

/** What an entry is, itself and not what it links to; undefined when it is gone or hidden from the service. */
export function statEntry(directory: Directory, name: RawName): Stats | undefined {
  try {
    return lstatSync(entryPath(directory, name), { throwIfNoEntry: false });
  } catch (error) {
    if (UNREADABLE.has(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** The names in a directory in byte order; where there are more than `limit`, that many of them, as they come. */
export async function readNames(
  directory: Directory,
  limit: number,
): Promise<{ names: RawName[]; truncated: boolean }> {
  const names: RawName[] = [];
  // Latin-1 has one character for each byte. Closed by the loop, however it is left.
  const entries = await opendir(shownName(baseOf(directory)), { encoding: 'latin1', bufferSize: 256 });
  for await (const { name } of entries) {
    if (names.length === limit) return { names: names.sort(), truncated: true };
    names.push(name);
  }
  return { names: names.sort(), truncated: false };
}

async function checkedPath(parent: RawName, name: RawName, shown: string): Promise<RawName> {
  const expected = name === '.' ? parent : `${parent}/${name}`;
  const real = await realpath(Buffer.from(expected, 'latin1'), { encoding: 'buffer' });
  if (real.toString('latin1') !== expected) throw refusal('ELOOP', shown);
  return expected;
}
