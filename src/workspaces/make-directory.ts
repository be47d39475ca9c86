import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Directory } from './directory.ts';
import { entryPath, openChild, openRoot, readNames } from './directory.ts';
import { errnoOf, fileError } from './file-error.ts';
import type { RawName } from './workspace-path.ts';

/** Who owns what is written; undefined where the service writes as itself. */
export type Owner = { uid: number; gid: number } | undefined;

/** Opens the directory of a workspace, making it (0700) and those above it when there is none. */
export async function makeRoot(path: string, owner: Owner): Promise<Directory> {
  await mkdir(dirname(path), { recursive: true, mode: 0o711 });
  const made = await makeOne(path);
  await using opened = new AsyncDisposableStack();
  const root = opened.use(await openRoot(path));
  if (!made) return move(opened, root);
  await handOver(root, owner, 0o700);
  // Opened again to see whom it belongs to now. Awaited here: a rejection that waits for the closing of `root` is met
  // by nobody, and ends the process.
  return await openRoot(path);
}

/**
 * Opens a directory in an open one, making it when there is none.
 * @throws ServiceError `conflict` for what is there and is no directory, `storage_unavailable`
 */
export async function makeChild(
  { parent, name, shown }: { parent: Directory; name: RawName; shown: string },
  { owner, mode }: { owner: Owner; mode: number },
): Promise<{ directory: Directory; made: boolean }> {
  const made = await makeOne(entryPath(parent, name)).catch((error: unknown) => {
    throw fileError(error, shown);
  });
  await using opened = new AsyncDisposableStack();
  const directory = opened.use(await openChild(parent, name, shown));
  if (made) await handOver(directory, owner, mode);
  return { directory: move(opened, directory), made };
}

/** One at a time: a recursive mkdir goes round for ever where a directory below `/proc/self/fd` disappears. */
async function makeOne(path: string | Buffer): Promise<boolean> {
  try {
    await mkdir(path, 0o700);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Gives a directory that was just made to its owner. Between making and opening, whoever works in the workspace may
 * have put another one in its place, which must not be given away: one that is not the service's own, or holds
 * anything, is left as it is.
 */
async function handOver(directory: Directory, owner: Owner, mode: number): Promise<void> {
  const { uid } = await directory.handle.stat();
  if (uid !== process.geteuid?.() || (await readNames(directory, 1)).names.length > 0) return;
  if (owner !== undefined) await directory.handle.chown(owner.uid, owner.gid);
  await directory.handle.chmod(mode);
}

/** Leaves open what the stack would close. */
function move(opened: AsyncDisposableStack, directory: Directory): Directory {
  opened.move();
  return directory;
}
