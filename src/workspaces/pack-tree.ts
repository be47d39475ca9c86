import { readlink } from 'node:fs/promises';
import { PassThrough, type Readable } from 'node:stream';
import type { Header, Pack } from 'tar-stream';
import { pack } from 'tar-stream';
import { ServiceError } from '../protocol/errors.ts';
import type { Directory } from './directory.ts';
import { entryPath } from './directory.ts';
import { drainOrClose } from './drain-or-close.ts';
import { errnoOf } from './file-error.ts';
import { kindOf } from './list-directory.ts';
import type { OpenFile } from './read-file.ts';
import { openFile, readChunks } from './read-file.ts';
import type { TreeEntry } from './walk-tree.ts';
import { walkTree } from './walk-tree.ts';
import { shownName, shownPath } from './workspace-path.ts';

const PADDING = Buffer.alloc(64 * 1024);
/** Any bit above those of the mode: a header of mode 0 would be given a default. */
const MODE_GIVEN = 0o100_000;
/** The latest second that the header's writer can count to. */
const LATEST_SECOND = 2 ** 31 - 1;

/**
 * A tar archive of everything below a directory: directories, regular files, and symbolic links as such. Other kinds
 * and what is closed to the service are left out. A file has the size it had when it was opened: it is cut, or filled
 * up with zeros, where it changes meanwhile. Names that are not UTF-8 are written with U+FFFD.
 *
 * Takes over `root` and closes it, with everything else it opens, when the stream has ended or is destroyed.
 */
export function packTree(root: Directory): Readable {
  const output = new PassThrough();
  const archive = pack();
  // The archive flows freely, and so holds nothing back itself; `addAll` waits for the output before each step.
  archive.on('data', (chunk) => output.write(chunk));
  archive.on('end', () => output.end());
  archive.on('error', (error) => output.destroy(error));
  output.on('close', () => archive.destroy());
  void addAll({ root, archive, output }).catch((error: unknown) => output.destroy(asError(error)));
  return output;
}

interface Packing {
  root: Directory;
  archive: Pack;
  output: PassThrough;
}

type Body = ReturnType<Pack['entry']>;

async function addAll({ root, archive, output }: Packing): Promise<void> {
  await using _root = root;
  for await (const entry of walkTree(root)) {
    await drained(output);
    if (output.destroyed) return;
    await addEntry(entry, { archive, output });
  }
  archive.finalize();
}

async function addEntry(entry: TreeEntry, { archive, output }: Omit<Packing, 'root'>): Promise<void> {
  const header = headerOf(entry);
  switch (kindOf(entry.stats)) {
    case 'directory':
      archive.entry({ ...header, name: `${header.name}/`, type: 'directory' });
      return;
    case 'link': {
      const linkname = await readTarget(entry);
      if (linkname !== undefined && !output.destroyed) archive.entry({ ...header, type: 'symlink', linkname });
      return;
    }
    case 'file': {
      await using file = await openUnlessClosed(entry);
      if (file === undefined || output.destroyed) return;
      const body = archive.entry({ ...header, type: 'file', size: file.size });
      await addBody(file, { body, output });
    }
  }
}

function headerOf({ names, stats }: TreeEntry): Pick<Header, 'name' | 'mode' | 'mtime'> {
  const second = Math.min(Math.max(Math.floor(stats.mtimeMs / 1000), 0), LATEST_SECOND);
  return {
    name: shownPath(names),
    mode: (stats.mode & 0o777) | MODE_GIVEN,
    mtime: new Date(second * 1000),
  };
}

/** The header has promised the size: what is missing is filled up. */
async function addBody(file: OpenFile, to: { body: Body; output: PassThrough }): Promise<void> {
  let missing = file.size;
  for await (const chunk of readChunks(file)) {
    missing -= chunk.length;
    if (!(await writeOn(chunk, to))) return;
  }
  while (missing > 0) {
    const zeros = PADDING.subarray(0, missing);
    missing -= zeros.length;
    if (!(await writeOn(zeros, to))) return;
  }
  const closed = new Promise<void>((resolve) => to.body.on('close', resolve));
  to.body.end(undefined);
  await closed;
}

/** Whether there is still somebody to write for. */
async function writeOn(chunk: Buffer, { body, output }: { body: Body; output: PassThrough }): Promise<boolean> {
  if (!body.write(chunk) && !body.destroyed) await drainOrClose(body);
  await drained(output);
  return !output.destroyed && !body.destroyed;
}

async function drained(output: PassThrough): Promise<void> {
  if (output.writableNeedDrain && !output.destroyed) await drainOrClose(output);
}

async function openUnlessClosed({ parent, name, names }: TreeEntry): Promise<OpenFile | undefined> {
  try {
    return await openFile(parent, name, shownPath(names));
  } catch (error) {
    if (error instanceof ServiceError) return undefined;
    throw error;
  }
}

/** EINVAL: it is no link any more. */
async function readTarget({ parent, name }: TreeEntry): Promise<string | undefined> {
  try {
    return shownName((await readlink(entryPath(parent, name), { encoding: 'buffer' })).toString('latin1'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EINVAL') return undefined;
    throw error;
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
