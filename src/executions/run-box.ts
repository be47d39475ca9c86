import { dirname } from 'node:path';
import type { ClaudeCommand, RunDirectories } from '../claude/command.ts';
import type { Egress } from '../egress/egress-proxy.ts';
import { type Enclosed, enclose } from '../isolation/box.ts';
import type { Identity } from '../isolation/launcher-arguments.ts';
import { isWithin, realOf } from '../isolation/tool-paths.ts';
import type { ModelGateway } from '../model-gateway/model-gateway.ts';
import { ServiceError } from '../protocol/errors.ts';
import { closedFolder } from './identity.ts';
import type { RunContext } from './run-context.ts';
import { portWays, socketWays } from './run-ways.ts';

/** What one process is enclosed in; `close` it when nothing of the process is left. */
export interface RunBox {
  /** Its way out, where it has one; a run says what it may reach. */
  egress: Egress | undefined;
  enclose(command: ClaudeCommand): Enclosed;
  close(): Promise<void>;
}

export interface BoxedRun {
  directories: RunDirectories;
  /** Folders it may change beside its own, such as the repository that its workspace is a worktree of. */
  alsoWritable: readonly string[];
  identity: Identity | undefined;
  gateway: ModelGateway;
  /** Whether it has a way out through the egress proxy. */
  proxied: boolean;
}

/** Opens the ways to the model and out for one process, and says how to put a command into its box. */
export async function openRunBox(
  { isolation: { box, tools }, egress: proxy }: Pick<RunContext, 'isolation' | 'egress'>,
  run: BoxedRun,
): Promise<RunBox> {
  const ways = await (box.level === 'L3' ? socketWays(proxy, run) : portWays(proxy, run));
  const { egress, close } = ways;
  if (box.level === 'L1') return { egress, enclose: (command) => ({ command }), close };
  const { workspace, home, temp, config, options } = run.directories;
  const place = {
    readable: [...tools.filter((path) => mayReach(path, run.identity)), options],
    writable: [...new Set([workspace, home, temp, config, ...run.alsoWritable])],
    home,
    gateway: ways.gatewayDoor,
    ...(ways.egressDoor === undefined ? {} : { egress: ways.egressDoor }),
  };
  return {
    egress,
    enclose: (command) => enclose(box, place, { ...command, file: realOf(command.file) }),
    close,
  };
}

/** What a run's user may not pass into cannot be shown to it. */
function mayReach(path: string, identity: Identity | undefined): boolean {
  return identity === undefined || closedFolder(dirname(path), identity) === undefined;
}

/** @throws ServiceError `invalid_request`: a box with such a workspace would hold everything that the service keeps */
export function refuseOuterWorkspace(workspace: string, dataDirectory: string): void {
  if (!isWithin(realOf(dataDirectory), realOf(workspace))) return;
  const message =
    `${workspace} holds the data folder ${dataDirectory}, with the runs and keys of everyone. ` +
    'Work in a folder below it, or move CC_DATA_DIR';
  throw new ServiceError('invalid_request', message, { data: { errors: [{ path: 'workspace', message }] } });
}
