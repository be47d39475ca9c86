import type { Extract, ExtractEvents } from 'tar-stream';
import { extract } from 'tar-stream';
import { ServiceError } from '../protocol/errors.ts';
import type { UnpackedArchive } from '../protocol/http-schemas.ts';
import type { ArchiveEntry } from './archive-entry.ts';
import { entryRefused, readEntry } from './archive-entry.ts';
import type { ArchiveProgress } from './archive-feed.ts';
import { feedArchive, notAnArchive } from './archive-feed.ts';
import type { Directory } from './directory.ts';
import { descend } from './directory.ts';
import type { Owner } from './make-directory.ts';
import { makeChild } from './make-directory.ts';
import { putFile, putLink } from './put-entry.ts';
import type { Allowance } from './quota.ts';
import type { RawName } from './workspace-path.ts';
import { shownPath } from './workspace-path.ts';

const MAX_ENTRIES = 100_000;
/** What an entry may take beside its content, on the average. */
const OVERHEAD_BYTES = 8 * 1024;

type Entry = ExtractEvents['entry'][1];

interface Unpacking {
  root: Directory;
  owner: Owner;
  allowance: Allowance;
  counts: UnpackedArchive;
  progress: ArchiveProgress;
}

/**
 * Unpacks a tar archive below `root`: files and directories as they are, symbolic links that stay inside by their
 * text. Links count as files. What was there is replaced, directories are kept. What was unpacked before an error
 * stays; the file in which it occurs does not.
 * @throws ServiceError `invalid_request` (not an archive, or an entry that is not taken), `conflict` (a link, or
 * something else that is no folder, on the way), `payload_too_large`, and what `chunks` throws
 */
export async function unpackArchive(
  chunks: AsyncIterable<Buffer>,
  { root, owner, allowance, quotaBytes }: { root: Directory; owner: Owner; allowance: Allowance; quotaBytes: number },
): Promise<UnpackedArchive> {
  const extraction = extract();
  const progress: ArchiveProgress = { fedBytes: 0, bodyBytes: 0, entryAt: 0 };
  const unpacking = { root, owner, allowance, progress, counts: { files: 0, directories: 0, bytes: 0 } };
  const maxBytes = quotaBytes + MAX_ENTRIES * OVERHEAD_BYTES;
  const fed = feedArchive({ extraction, progress, maxBytes }, chunks);
  void fed.catch((error: unknown) => extraction.destroy(error instanceof Error ? error : new Error(String(error))));
  let entries = 0;
  for await (const entry of entriesOf(extraction)) {
    progress.entryAt = progress.fedBytes - progress.bodyBytes;
    entries += 1;
    if (entries > MAX_ENTRIES) throw tooMany();
    await unpackEntry(entry, unpacking);
  }
  return unpacking.counts;
}

async function unpackEntry(entry: Entry, unpacking: Unpacking): Promise<void> {
  const { counts, root } = unpacking;
  const wanted = readEntry(entry.header);
  if (wanted.kind === 'directory') {
    entry.resume();
    if (wanted.names.length === 0) return;
    await using _made = await descend(root, wanted.names, stepOf(unpacking, wanted.names.length, wanted.mode));
    counts.directories += 1;
    return;
  }
  counts.bytes += await unpackInto(entry, wanted, unpacking);
  counts.files += 1;
}

/** @returns the bytes of content */
async function unpackInto(
  entry: Entry,
  wanted: Exclude<ArchiveEntry, { kind: 'directory' }>,
  unpacking: Unpacking,
): Promise<number> {
  const { root, owner, allowance } = unpacking;
  const above = wanted.names.slice(0, -1);
  await using directory = await descend(root, above, stepOf(unpacking));
  const place = { directory, name: wanted.names.at(-1) ?? '', shown: shownPath(wanted.names) };
  if (wanted.kind === 'link') {
    entry.resume();
    await putLink(place, wanted.target);
    return 0;
  }
  allowance.check(entry.header.size);
  const chunks = bodyOf(entry, unpacking.progress);
  const { size } = await putFile(place, { chunks, mode: wanted.mode, owner, take: allowance.take });
  return size;
}

/** Opens the next folder on the way, or makes it; the one at `depth` gets the mode that its entry asks for. */
function stepOf(
  { owner }: Unpacking,
  depth = 0,
  mode = 0o755,
): (parent: Directory, name: RawName, shown: string) => Promise<Directory> {
  let at = 0;
  return async (parent, name, shown) => {
    at += 1;
    const { directory } = await makeChild({ parent, name, shown }, { owner, mode: at === depth ? mode : 0o755 });
    return directory;
  };
}

async function* entriesOf(extraction: Extract): AsyncGenerator<Entry> {
  try {
    yield* extraction;
  } catch (error) {
    throw archiveError(error);
  }
}

/** The content of an entry, as long as its header says. */
async function* bodyOf(entry: Entry, progress: ArchiveProgress): AsyncGenerator<Buffer> {
  let bytes = 0;
  try {
    for await (const chunk of entry) {
      if (!Buffer.isBuffer(chunk)) throw new Error('The parser gave something else than bytes');
      bytes += chunk.length;
      progress.bodyBytes += chunk.length;
      yield chunk;
    }
  } catch (error) {
    throw archiveError(error);
  }
  if (bytes !== entry.header.size) throw entryRefused(entry.header.name, 'breaks off before its end');
}

/** The parser throws bare errors; what was refused on the way to it is passed on. */
function archiveError(error: unknown): ServiceError {
  return error instanceof ServiceError ? error : notAnArchive('it cannot be read as one', error);
}

function tooMany(): ServiceError {
  return new ServiceError('payload_too_large', `The archive has more than ${MAX_ENTRIES} entries`);
}
