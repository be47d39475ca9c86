import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';

const CHUNK_BYTES = 64 * 1024;
const LINE_FEED = 10;

/** A line without its line feed, and the offset in the file behind that. */
export interface SpooledLine {
  line: Buffer;
  end: number;
}

/** One file of lines (0600). What `append` has resolved is on the disk. */
export class SpoolFile {
  readonly path: string;
  #size: number;
  /** Whether there may be bytes behind `#size`: of an earlier file, or of a line that was not written to its end. */
  #ragged = true;

  constructor(path: string, size = 0) {
    this.path = path;
    this.#size = size;
  }

  /** Bytes of whole lines; of a file that was found, also those of a last line that was cut. */
  get size(): number {
    return this.#size;
  }

  /** Rejects with the system's error; the line is then no part of the file. */
  async append(line: Buffer): Promise<void> {
    const handle = await open(this.path, constants.O_WRONLY | constants.O_CREAT, 0o600);
    try {
      if (this.#ragged) await handle.truncate(this.#size);
      this.#ragged = true;
      await writeAt(handle, line, this.#size);
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (this.#size === 0) await syncFolder(dirname(this.path));
    this.#ragged = false;
    this.#size += line.length;
  }

  /** The whole lines between two offsets, read a piece at a time. */
  async *lines(from: number, upTo: number): AsyncGenerator<SpooledLine, void, undefined> {
    const handle = await open(this.path, constants.O_RDONLY);
    try {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      let begun: Buffer[] = [];
      for (let at = from; at < upTo; ) {
        const { bytesRead } = await handle.read(chunk, 0, Math.min(CHUNK_BYTES, upTo - at), at);
        if (bytesRead === 0) return;
        const read = chunk.subarray(0, bytesRead);
        let start = 0;
        for (let end = read.indexOf(LINE_FEED); end !== -1; end = read.indexOf(LINE_FEED, start)) {
          yield { line: Buffer.concat([...begun, read.subarray(start, end)]), end: at + end + 1 };
          begun = [];
          start = end + 1;
        }
        begun.push(Buffer.from(read.subarray(start)));
        at += bytesRead;
      }
    } finally {
      await handle.close();
    }
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
  }

  /** Keeps the file under another name; its age counts from now. */
  async moveTo(path: string): Promise<void> {
    const now = new Date();
    await utimes(this.path, now, now);
    await rename(this.path, path);
  }
}

async function writeAt(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

/** A new file is found after the end of the machine only if its folder is on the disk too. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
