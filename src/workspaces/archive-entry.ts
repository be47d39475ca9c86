import type { Header } from 'tar-stream';
import { ServiceError } from '../protocol/errors.ts';
import { shortened } from './file-error.ts';
import type { RawName } from './workspace-path.ts';
import { parsePath, pathProblem } from './workspace-path.ts';

/** More than any program writes for one entry; each costs time whenever an entry is read. */
const MAX_EXTENDED_FIELDS = 256;

export type ArchiveEntry =
  | { kind: 'file' | 'directory'; names: RawName[]; mode: number }
  | { kind: 'link'; names: RawName[]; target: string };

/**
 * What an entry of an archive asks for. Of the mode, what lets others write is left out, and the owner may always read
 * and write.
 * @throws ServiceError `invalid_request` naming the entry: a name that is no path inside the workspace, a link that
 * leads out of it, a kind that is not taken (hard links, devices, FIFOs, sparse files)
 */
export function readEntry(header: Header): ArchiveEntry {
  const names = namesOf(header);
  refuseExtensions(header);
  const { mode } = header;
  switch (header.type) {
    case 'directory':
      return { kind: 'directory', names, mode: (mode & 0o755) | 0o700 };
    case 'file':
    case 'contiguous-file':
      if (names.length === 0) throw refused(header, 'has the name of the workspace itself');
      return { kind: 'file', names, mode: (mode & 0o755) | 0o600 };
    case 'symlink':
      if (names.length === 0) throw refused(header, 'has the name of the workspace itself');
      return { kind: 'link', names, target: targetOf(header, names.length - 1) };
    default:
      throw refused(header, `is of a kind that is not taken (${header.type}); files, folders and links are`);
  }
}

export function entryRefused(name: string, problem: string): ServiceError {
  const message = `The entry ${shortened(name)} of the archive ${problem}`;
  return new ServiceError('invalid_request', message, { data: { errors: [{ path: 'archive', message }] } });
}

function refused({ name }: Header, problem: string): ServiceError {
  return entryRefused(name, problem);
}

/** Programs write `./a` for `a`, and `./` or `.` for the folder they were given. */
function namesOf(header: Header): RawName[] {
  const name = header.name.replace(/^(\.\/+)+/, '');
  if (name === '.') return [];
  const problem = pathProblem(name);
  if (problem !== undefined) throw refused(header, problem);
  return parsePath(name);
}

/** Inside by its text alone, from the folder at `depth` that it lies in. Nothing of the service follows it. */
function targetOf(header: Header, depth: number): string {
  const target: string | null = header.linkname;
  if (target === null || target === '' || target.includes('\0') || !target.isWellFormed())
    throw refused(header, 'is a link to no path');
  if (target.startsWith('/')) throw refused(header, 'is a link to an absolute path, which leads out of the workspace');
  let at = depth;
  for (const part of target.split('/')) {
    if (part === '..') at -= 1;
    else if (part !== '' && part !== '.') at += 1;
    if (at < 0) throw refused(header, 'is a link that leads out of the workspace');
  }
  return target;
}

/** `GNU.sparse.*`: a file with holes, whose content is a map of them and then the rest (GNU tar manual, D.2). */
function refuseExtensions(header: Header): void {
  const extended = header.pax;
  const fields = typeof extended === 'object' && extended !== null ? Object.keys(extended) : [];
  if (fields.length > MAX_EXTENDED_FIELDS) {
    throw refused(header, `has ${fields.length} extended header fields; at most ${MAX_EXTENDED_FIELDS} are taken`);
  }
  if (fields.some((field) => field.startsWith('GNU.sparse'))) throw refused(header, 'is a sparse file; pack it whole');
}
