import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, symlink, unlink } from 'node:fs/promises';
import type { Directory } from './directory.ts';
import { entryPath, statEntry } from './directory.ts';
import { errnoOf, fileError } from './file-error.ts';
import type { Owner } from './make-directory.ts';
import type { RawName } from './workspace-path.ts';

const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

export interface Place {
  directory: Directory;
  name: RawName;
  /** The whole path, for messages. */
  shown: string;
}

export interface NewFile {
  chunks: AsyncIterable<Buffer>;
  mode: number;
  owner: Owner;
  /** Is told how many bytes are about to be written, and throws where they may not be. */
  take(bytes: number): void;
}

/**
 * Writes a file beside its place and renames it there when it is whole: readers see the old one or the new one, and a
 * failure leaves nothing behind. Rename replaces a link at the place itself; it does not follow it.
 * @returns whether there was nothing at the place before, and the size in bytes
 * @throws ServiceError `conflict` for a directory at the place, `storage_unavailable`; what `chunks` and `take` throw
 */
export async function putFile(place: Place, file: NewFile): Promise<{ created: boolean; size: number }> {
  return putInPlace(place, (path) => fill(path, file)).then(({ created, made }) => ({ created, size: made }));
}

/**
 * Makes a symbolic link, in the same way. It stays the service's own: to change the owner of a link is to change the
 * owner of whatever has its name by then. Whom a link belongs to is of no consequence to who follows or removes it.
 */
export async function putLink(place: Place, target: string): Promise<void> {
  await putInPlace(place, (path) => symlink(target, path));
}

async function putInPlace<T>(
  { directory, name, shown }: Place,
  make: (path: Buffer) => Promise<T>,
): Promise<{ created: boolean; made: T }> {
  const temporary = entryPath(directory, `.cc-upload-${randomBytes(12).toString('hex')}`);
  let placed = false;
  try {
    const made = await make(temporary);
    const created = statEntry(directory, name) === undefined;
    await rename(temporary, entryPath(directory, name));
    placed = true;
    return { created, made };
  } catch (error) {
    throw fileError(error, shown);
  } finally {
    if (!placed) await removeTemporary(temporary);
  }
}

async function fill(path: Buffer, { chunks, mode, owner, take }: NewFile): Promise<number> {
  await using handle = await open(path, CREATE, 0o600);
  let size = 0;
  for await (const chunk of chunks) {
    take(chunk.length);
    await handle.writeFile(chunk);
    size += chunk.length;
  }
  if (owner !== undefined) await handle.chown(owner.uid, owner.gid);
  await handle.chmod(mode);
  return size;
}

/** Whoever works in the workspace may have removed the file, or put a directory there, which is then theirs. */
async function removeTemporary(path: Buffer): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'EISDIR') throw error;
  }
}
