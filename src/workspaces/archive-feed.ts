import type { Extract } from 'tar-stream';
import { ServiceError } from '../protocol/errors.ts';
import { drainOrClose } from './drain-or-close.ts';

const SLICE_BYTES = 16 * 1024;
const BLOCK_BYTES = 512;
/** What may come without a file's content or a next entry: all that stands before one entry, and what is read ahead. */
const MAX_HEADER_BYTES = 256 * 1024;
const ZEROS = Buffer.alloc(SLICE_BYTES);

/** How far an archive has been read; the reader of its entries keeps `entryAt` and `bodyBytes`. */
export interface ArchiveProgress {
  /** Bytes given to the parser, zeros that stand between entries and after them left out. */
  fedBytes: number;
  /** Bytes of content that have come out. */
  bodyBytes: number;
  /** `fedBytes - bodyBytes` when the last entry came out. */
  entryAt: number;
}

/**
 * Gives an archive to its parser, as fast as that takes it; what goes wrong destroys the parser with the reason. The
 * parser itself knows no bound for headers that are followed by headers, and takes a missing end for one.
 */
export async function feedArchive(
  { extraction, progress, maxBytes }: { extraction: Extract; progress: ArchiveProgress; maxBytes: number },
  chunks: AsyncIterable<Buffer>,
): Promise<void> {
  let tail = Buffer.alloc(0);
  let bytes = 0;
  for await (const slice of slices(refuseGzip(chunks))) {
    bytes += slice.length;
    if (bytes > maxBytes) throw tooLong(maxBytes);
    if (!isZero(slice)) progress.fedBytes += slice.length;
    if (progress.fedBytes - progress.bodyBytes - progress.entryAt > MAX_HEADER_BYTES) {
      throw notAnArchive('its headers are longer than any that are taken');
    }
    tail = Buffer.concat([tail, slice]).subarray(-BLOCK_BYTES);
    if (!(await passOn(extraction, slice))) return;
  }
  // The end of an archive is two blocks of zeros (POSIX pax, ustar interchange format).
  if (tail.length < BLOCK_BYTES || !isZero(tail)) throw notAnArchive('its end is missing');
  extraction.end(undefined);
}

/** @param why follows "is not a tar archive: " */
export function notAnArchive(why: string, cause?: unknown): ServiceError {
  const message = `The body is not a tar archive: ${why}`;
  return new ServiceError('invalid_request', message, { cause, data: { errors: [{ path: 'archive', message }] } });
}

/** Whether the parser goes on; it is destroyed when the reader of the entries has had enough. */
async function passOn(extraction: Extract, slice: Buffer): Promise<boolean> {
  if (extraction.destroyed) return false;
  if (!extraction.write(slice) && !extraction.destroyed) await drainOrClose(extraction);
  return !extraction.destroyed;
}

/** RFC 1952: the first two bytes, which need not come together. */
async function* refuseGzip(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let head = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (head.length < 2) head = Buffer.concat([head, chunk.subarray(0, 2)]);
    if (head[0] === 0x1f && head[1] === 0x8b) throw notAnArchive('it is compressed with gzip; send it uncompressed');
    yield chunk;
  }
}

async function* slices(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += SLICE_BYTES) yield chunk.subarray(at, at + SLICE_BYTES);
  }
}

function isZero(bytes: Buffer): boolean {
  return bytes.equals(ZEROS.subarray(0, bytes.length));
}

function tooLong(maxBytes: number): ServiceError {
  return new ServiceError('payload_too_large', `The archive is longer than ${maxBytes} bytes`);
}
