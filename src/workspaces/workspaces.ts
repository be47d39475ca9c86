import type { Readable } from 'node:stream';
import type { Listing, UnpackedArchive, WrittenFile } from '../protocol/http-routes.ts';

export interface WorkspacesOptions {
  dataDirectory: string;
  /** The directories of `lent:name`, by name. */
  lent: Readonly<Record<string, string>>;
  /** The most bytes that one workspace may hold after an upload. */
  quotaBytes: number;
  /** Who owns what is written into fresh and named workspaces; undefined where the service runs as that user itself. */
  owner: { uid: number; gid: number } | undefined;
}

export type OpenedFile = { kind: 'directory'; listing: Listing } | { kind: 'file'; size: number; content: Readable };

/** The files of workspaces, in and out. */
export interface Workspaces {
  open(tenant: string, name: string, path: string): Promise<OpenedFile>;
  write(
    tenant: string,
    name: string,
    target: { path: string; content: Readable },
  ): Promise<{ created: boolean; file: WrittenFile }>;
  pack(tenant: string, name: string): Promise<Readable>;
  unpack(tenant: string, name: string, archive: Readable): Promise<UnpackedArchive>;
}
