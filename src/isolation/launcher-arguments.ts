import { fileURLToPath } from 'node:url';

/** The unprivileged user a run drops to; needs root (or CAP_SETUID and CAP_SETGID). */
export interface Identity {
  uid: number;
  gid: number;
}

/**
 * Resource limits of a run, soft and hard alike; never raised above those of the service. Bytes, except `cpuSeconds`
 * and the counts `openFiles` and `processes`. `processes` needs an identity, because the kernel counts them per uid.
 */
export interface Limits {
  coreBytes: number;
  fileBytes: number;
  messageQueueBytes: number;
  lockedMemoryBytes: number;
  openFiles: number;
  cpuSeconds?: number;
  processes?: number;
}

/**
 * How a command that makes a box comes to the real one: by becoming it (`exec`), or by starting it in the box, where an
 * init of ours reports (`init`).
 */
export type BoxKind = 'exec' | 'init';

/** Measured to be harmless to the CLI 2.1.330 and its tools. */
export const DEFAULT_LIMITS: Limits = {
  coreBytes: 0,
  fileBytes: 2 * 1024 ** 3,
  messageQueueBytes: 0,
  lockedMemoryBytes: 65_536,
  openFiles: 1024,
};

const LIMIT_NAMES = {
  coreBytes: 'core',
  fileBytes: 'fsize',
  messageQueueBytes: 'msgqueue',
  lockedMemoryBytes: 'memlock',
  openFiles: 'nofile',
  cpuSeconds: 'cpu',
  processes: 'nproc',
} as const satisfies Record<keyof Limits, string>;

/** The launcher program; it lies beside this module in `src` and in `dist`. */
export const LAUNCHER_PATH: string = fileURLToPath(new URL('./launcher.pl', import.meta.url));

/** The arguments of perl for one launch. Pure. */
export function launcherArguments(launch: {
  parentPid: number;
  identity?: Identity | undefined;
  limits: Limits;
  box?: BoxKind | undefined;
  command: { file: string; args: readonly string[] };
}): string[] {
  const { identity, limits, box, command } = launch;
  const user = identity === undefined ? [] : ['--uid', String(identity.uid), '--gid', String(identity.gid)];
  const bounds = Object.entries(LIMIT_NAMES).flatMap(([key, name]) => {
    const value = Object.entries(limits).find(([limit]) => limit === key)?.[1];
    return value === undefined ? [] : ['--limit', `${name}=${value}`];
  });
  const parent = ['--parent', String(launch.parentPid)];
  const boxed = box === undefined ? [] : ['--box', box];
  return [LAUNCHER_PATH, ...parent, ...user, ...bounds, ...boxed, '--', command.file, ...command.args];
}
