import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { ServiceError } from '../protocol/errors.ts';
import type { Directory } from './directory.ts';
import { entryPath } from './directory.ts';
import { fileError, notAFile, refusal, shortened } from './file-error.ts';
import type { RawName } from './workspace-path.ts';

/** Without O_NONBLOCK the opening of a FIFO would wait for a writer. */
const OPEN_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
const CHUNK_BYTES = 64 * 1024;

export interface OpenFile extends AsyncDisposable {
  handle: FileHandle;
  size: number;
}

/**
 * Opens a regular file in an open directory.
 * @throws ServiceError `not_found`; `conflict` for a link, for what is no regular file, and for what is closed to the
 * service
 */
export async function openFile(directory: Directory, name: RawName, shown: string): Promise<OpenFile> {
  await using opened = new AsyncDisposableStack();
  const handle = opened.use(
    await open(entryPath(directory, name), OPEN_FILE).catch((error: unknown) => {
      throw fileError(error, shown);
    }),
  );
  const stats = await handle.stat();
  if (!stats.isFile()) throw notAFile(shown);
  // Where the system lets anybody link to anything, a second name must not make the service read what it alone may.
  const serviceIsRoot = process.geteuid?.() === 0;
  if (serviceIsRoot && stats.nlink > 1 && stats.uid !== directory.workspaceUid) throw refusal('EPERM', shown);
  opened.move();
  return { handle, size: stats.size, [Symbol.asyncDispose]: () => handle.close() };
}

/** The bytes of a file from its start: as many as it had when it was opened, or fewer where it has become shorter. */
export async function* readChunks({ handle, size }: OpenFile): AsyncGenerator<Buffer> {
  for (let at = 0; at < size; ) {
    const length = Math.min(CHUNK_BYTES, size - at);
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/**
 * A file as a stream of exactly `size` bytes, which fails where the file becomes shorter meanwhile. Its end closes the
 * file, and so does its destruction: a reader that does not read to the end must destroy it.
 */
export function streamOf(file: OpenFile, shown: string): Readable {
  const content = Readable.from(readExactly(file, shown), { objectMode: false, highWaterMark: CHUNK_BYTES });
  return content.once('close', () => void file.handle.close());
}

async function* readExactly(file: OpenFile, shown: string): AsyncGenerator<Buffer> {
  let sent = 0;
  for await (const chunk of readChunks(file)) {
    sent += chunk.length;
    yield chunk;
  }
  if (sent < file.size) {
    throw new ServiceError('conflict', `${shortened(shown)} became shorter while it was read`);
  }
}
