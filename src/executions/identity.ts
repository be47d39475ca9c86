import { statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Identity } from '../isolation/launcher-arguments.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { ExecutionRecord } from '../storage/storage.ts';
import { isForeignWorkspace, type RunPlace } from './run-directories.ts';

/** Who a run is, and, when it stays root although the service would rather drop, why. */
export interface RunIdentity {
  identity: Identity | undefined;
  stayedRootBecause: string | undefined;
}

export interface IdentityPolicy {
  /** uid of the service; `undefined` where the system has none. */
  serviceUid: number | undefined;
  /** uid and gid of runs in fresh and named workspaces. */
  runUid: number;
  dataDirectory: string;
  binary: string;
}

/**
 * A service that is not root runs everything as itself. A root service runs fresh and named workspaces under the
 * unprivileged run uid, and lent and local directories under their owner's. Where that owner is root, or the files do
 * not let that user in, the run goes as root.
 */
export async function chooseIdentity(record: RunPlace, policy: IdentityPolicy): Promise<RunIdentity> {
  if (policy.serviceUid !== 0) return { identity: undefined, stayedRootBecause: undefined };
  const foreign = isForeignWorkspace(record);
  const owner = foreign ? await stat(record.directory) : { uid: policy.runUid, gid: policy.runUid };
  if (owner.uid === 0) return stayRoot(`${record.directory} belongs to root`);
  const identity = { uid: owner.uid, gid: owner.gid };
  const folders = [dirname(policy.binary), policy.dataDirectory, ...(foreign ? [record.directory] : [])];
  for (const folder of folders) {
    const closed = closedFolder(folder, identity);
    if (closed !== undefined) return stayRoot(`uid ${identity.uid} may not enter ${closed}`);
  }
  return { identity, stayedRootBecause: undefined };
}

function stayRoot(reason: string): RunIdentity {
  return { identity: undefined, stayedRootBecause: reason };
}

/**
 * The first folder on the way into `folder` that this user may not pass, from the mode bits. Synchronous: a dozen
 * trips to the thread pool would take longer than all the rest of a run's preparation.
 */
export function closedFolder(folder: string, { uid, gid }: Identity): string | undefined {
  const parents: string[] = [];
  for (let path = folder; ; path = dirname(path)) {
    parents.unshift(path);
    if (path === dirname(path)) break;
  }
  for (const path of parents) {
    const { mode, uid: owner, gid: group } = statSync(path);
    const bit = owner === uid ? 0o100 : group === gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return path;
  }
  return undefined;
}

/** @throws ServiceError `invalid_request`: Claude Code refuses to skip permissions as root (2.1.330, exit 1) */
export function refuseBypassAsRoot(record: ExecutionRecord, { stayedRootBecause }: RunIdentity): void {
  if (stayedRootBecause === undefined || record.request.permissionMode !== 'bypassPermissions') return;
  const message =
    `bypassPermissions is refused as root, and the run would be root because ${stayedRootBecause}. ` +
    'Use allowedTools or acceptEdits, or work in a directory of another user';
  throw new ServiceError('invalid_request', message, { data: { errors: [{ path: 'permissionMode', message }] } });
}
