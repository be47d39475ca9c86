import type { Readable } from 'node:stream';
import { ServiceError } from '../protocol/errors.ts';
import { WorkspaceName } from '../protocol/execution-request.ts';
import type { Listing, UnpackedArchive, WrittenFile } from '../protocol/http-schemas.ts';
import { type LentWorkspaces, lentDirectory } from '../protocol/lent-workspaces.ts';
import type { Directory } from './directory.ts';
import { descend, openChild, openRoot, statEntry } from './directory.ts';
import { errnoOf, fileError, notAFile, refusal, shortened } from './file-error.ts';
import { kindOf, listDirectory } from './list-directory.ts';
import type { Owner } from './make-directory.ts';
import { makeChild, makeRoot } from './make-directory.ts';
import { packTree } from './pack-tree.ts';
import { putFile } from './put-entry.ts';
import type { Allowance, Quota } from './quota.ts';
import { createQuota } from './quota.ts';
import { openFile, streamOf } from './read-file.ts';
import { unpackArchive } from './unpack-archive.ts';
import { uploadChunks } from './upload-chunks.ts';
import { sizeOfTree } from './walk-tree.ts';
import { parsePath, shownPath } from './workspace-path.ts';

const UPLOAD_IDLE_MS = 30_000;

export interface WorkspacesOptions {
  /** The directory of a fresh or named workspace, whether it exists or not. */
  folderOf(tenant: string, name: string): string;
  /** The directories of `lent:name`. */
  lent: LentWorkspaces;
  /** The most bytes that one workspace may hold after an upload. */
  quotaBytes: number;
  /** Who owns what is written into fresh and named workspaces; undefined where the service runs as that user itself. */
  owner: Owner;
  /** How long an upload may bring nothing, in ms; 30,000 where it is not given. */
  uploadIdleMs?: number;
}

export type OpenedFile = { kind: 'directory'; listing: Listing } | { kind: 'file'; size: number; content: Readable };

/**
 * The files of workspaces, in and out. Paths are relative to the workspace; a link is never followed, and nothing
 * outside the workspace is read or written, whatever whoever works in it does meanwhile.
 *
 * Every method throws ServiceError `not_found` for a workspace that does not exist, `invalid_request` for a bad path,
 * `conflict` for a link or something else that is in the way. Streams that are given to these methods stay the
 * caller's: they are not destroyed when a method fails. Streams that are returned must be read to the end or destroyed.
 */
export interface Workspaces {
  /** A folder's listing, or a file's content, exactly `size` bytes of it. */
  open(tenant: string, name: string, path: string): Promise<OpenedFile>;
  /**
   * Writes a file, whole or not at all; makes the folders on the way, and the workspace unless it is lent.
   * @throws ServiceError also `payload_too_large`, `request_timeout`, `storage_unavailable`
   */
  write(
    tenant: string,
    name: string,
    target: { path: string; content: Readable },
  ): Promise<{ created: boolean; file: WrittenFile }>;
  /** The whole workspace as a tar archive. */
  pack(tenant: string, name: string): Promise<Readable>;
  /**
   * Unpacks a tar archive into the workspace, which is made unless it is lent. What was unpacked before an error stays.
   * @throws ServiceError also `payload_too_large`, `request_timeout`, `storage_unavailable`
   */
  unpack(tenant: string, name: string, archive: Readable): Promise<UnpackedArchive>;
}

export function createWorkspaces(options: WorkspacesOptions): Workspaces {
  const { quotaBytes, uploadIdleMs = UPLOAD_IDLE_MS } = options;
  const quota = createQuota(quotaBytes);
  return {
    async open(tenant, name, path) {
      const names = parsePath(path);
      await using root = await openExisting(locate(options, tenant, name));
      // Awaited here: the root is closed on the way out.
      return await openEntry(root, names);
    },

    async write(tenant, name, { path, content }) {
      const chunks = uploadChunks(content, uploadIdleMs);
      const names = parseFilePath(path);
      const place = locate(options, tenant, name);
      await using root = await openForWriting(place, options.owner);
      const owner = await ownerOf(root, place, options.owner);
      using allowance = await allow(quota, place, root);
      await using directory = await descend(root, names.slice(0, -1), async (parent, part, shown) => {
        const child = await makeChild({ parent, name: part, shown }, { owner, mode: 0o755 });
        return child.directory;
      });
      const shown = shownPath(names);
      const target = { directory, name: names.at(-1) ?? '', shown };
      const { created, size } = await putFile(target, { chunks, mode: 0o644, owner, take: allowance.take });
      return { created, file: { path: shown, size } };
    },

    async pack(tenant, name) {
      return packTree(await openExisting(locate(options, tenant, name)));
    },

    async unpack(tenant, name, archive) {
      const chunks = uploadChunks(archive, uploadIdleMs);
      const place = locate(options, tenant, name);
      await using root = await openForWriting(place, options.owner);
      const owner = await ownerOf(root, place, options.owner);
      using allowance = await allow(quota, place, root);
      return await unpackArchive(chunks, { root, owner, allowance, quotaBytes });
    },
  };
}

/** Where a workspace lies. */
interface Location {
  name: string;
  path: string;
  lent: boolean;
}

function locate({ lent, folderOf }: WorkspacesOptions, tenant: string, name: string): Location {
  if (!WorkspaceName.safeParse(name).success) throw noWorkspace(name);
  if (!name.startsWith('lent:')) return { name, path: folderOf(tenant, name), lent: false };
  const path = lentDirectory(lent, tenant, name.slice('lent:'.length));
  if (path === undefined) throw noWorkspace(name);
  return { name, path, lent: true };
}

async function openExisting({ name, path }: Location): Promise<Directory> {
  return openRoot(path).catch((error: unknown) => {
    throw errnoOf(error) === 'ENOENT' ? noWorkspace(name) : fileError(error, `The workspace ${name}`);
  });
}

async function openForWriting(place: Location, owner: Owner): Promise<Directory> {
  if (place.lent) return openExisting(place);
  return makeRoot(place.path, owner).catch((error: unknown) => {
    throw fileError(error, `The workspace ${place.name}`);
  });
}

/** A lent directory is worked in under its owner's uid; only root can write for another. */
async function ownerOf(root: Directory, { lent }: Location, owner: Owner): Promise<Owner> {
  if (!lent) return owner;
  const { uid, gid } = await root.handle.stat();
  return process.geteuid?.() === 0 ? { uid, gid } : undefined;
}

async function allow(quota: Quota, { path }: Location, root: Directory): Promise<Allowance> {
  return quota.begin(path, () => sizeOfTree(root));
}

async function openEntry(root: Directory, names: readonly string[]): Promise<OpenedFile> {
  const shown = shownPath(names);
  const name = names.at(-1);
  if (name === undefined) return { kind: 'directory', listing: await listDirectory(root, shown) };
  await using parent = await descend(root, names.slice(0, -1));
  const stats = statEntry(parent, name);
  if (stats === undefined) throw refusal('ENOENT', shown);
  switch (kindOf(stats)) {
    case 'directory': {
      await using directory = await openChild(parent, name, shown);
      return { kind: 'directory', listing: await listDirectory(directory, shown) };
    }
    case 'link':
      throw refusal('ELOOP', shown);
    case 'other':
      throw notAFile(shown);
    case 'file': {
      const file = await openFile(parent, name, shown);
      return { kind: 'file', size: file.size, content: streamOf(file, shown) };
    }
  }
}

function parseFilePath(path: string): string[] {
  const names = parsePath(path);
  if (names.length > 0 && !path.endsWith('/')) return names;
  const message = 'names a folder; give the path of a file';
  throw new ServiceError('invalid_request', `path ${message}`, { data: { errors: [{ path: 'path', message }] } });
}

function noWorkspace(name: string): ServiceError {
  return new ServiceError('not_found', `There is no workspace ${shortened(name)}`);
}
