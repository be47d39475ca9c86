import { chownSync, mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ClaudeCommand, RunDirectories } from '../claude/command.ts';
import { type Door, type Enclosed, enclose } from '../isolation/box.ts';
import type { Isolation } from '../isolation/isolation.ts';
import type { Identity } from '../isolation/launcher-arguments.ts';
import { isWithin, realOf } from '../isolation/tool-paths.ts';
import type { ModelGateway } from '../model-gateway/model-gateway.ts';
import { ServiceError } from '../protocol/errors.ts';
import { closedFolder } from './identity.ts';

const SOCKET_NAME = 's';

/** What one process is enclosed in; `close` it when nothing of the process is left. */
export interface RunBox {
  enclose(command: ClaudeCommand): Enclosed;
  close(): Promise<void>;
}

export interface BoxedRun {
  directories: RunDirectories;
  /** Folders it may change beside its own, such as the repository that its workspace is a worktree of. */
  alsoWritable: readonly string[];
  identity: Identity | undefined;
  gateway: ModelGateway;
  egress?: Door;
}

/** Opens the way to the model for one process, and says how to put a command into its box. */
export async function openRunBox({ box, tools }: Isolation, run: BoxedRun): Promise<RunBox> {
  if (box.level === 'L1') return { enclose: (command) => ({ command }), close: async () => {} };
  const { workspace, home, temp, config, options } = run.directories;
  const way = box.level === 'L3' ? await openSocket(run) : { door: portOf(run.gateway), close: async () => {} };
  const place = {
    readable: [...tools.filter((path) => mayReach(path, run.identity)), options],
    writable: [...new Set([workspace, home, temp, config, ...run.alsoWritable])],
    home,
    gateway: way.door,
    ...(run.egress === undefined ? {} : { egress: run.egress }),
  };
  return {
    enclose: (command) => enclose(box, place, { ...command, file: realOf(command.file) }),
    close: way.close,
  };
}

/**
 * A socket to the gateway in a folder of its own, which alone shows in the box. It is bound by way of the open folder,
 * because the path of a unix socket may have 107 bytes only.
 */
async function openSocket({
  directories,
  identity,
  gateway,
}: BoxedRun): Promise<{ door: Door; close(): Promise<void> }> {
  const folder = join(dirname(directories.home), 'gateway');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const opened = await open(folder, 'r');
  try {
    const closeSocket = await gateway.openSocket(`/proc/self/fd/${opened.fd}/${SOCKET_NAME}`);
    for (const path of identity === undefined ? [] : [folder, join(folder, SOCKET_NAME)]) {
      chownSync(path, identity?.uid ?? 0, identity?.gid ?? 0);
    }
    const close = async (): Promise<void> => {
      await closeSocket();
      await opened.close();
    };
    return { door: { socket: join(folder, SOCKET_NAME) }, close };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** What a run's user may not pass into cannot be shown to it. */
function mayReach(path: string, identity: Identity | undefined): boolean {
  return identity === undefined || closedFolder(dirname(path), identity) === undefined;
}

function portOf({ baseUrl }: ModelGateway): Door {
  return { port: Number(new URL(baseUrl).port) };
}

/** @throws ServiceError `invalid_request`: a box with such a workspace would hold everything that the service keeps */
export function refuseOuterWorkspace(workspace: string, dataDirectory: string): void {
  if (!isWithin(realOf(dataDirectory), realOf(workspace))) return;
  const message =
    `${workspace} holds the data folder ${dataDirectory}, with the runs and keys of everyone. ` +
    'Work in a folder below it, or move CC_DATA_DIR';
  throw new ServiceError('invalid_request', message, { data: { errors: [{ path: 'workspace', message }] } });
}
