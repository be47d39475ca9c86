import { stat } from 'node:fs/promises';

/** Why the command never ran, or (`launcher_died`) why nobody saw how it ended. `message` says what happened. */
export interface LaunchFailure {
  reason: 'cli_missing' | 'not_executable' | 'perl_missing' | 'cwd_unusable' | 'box_failed' | 'launcher_died' | 'other';
  message: string;
}

/** What `cliPid` rejects with. */
export class LaunchError extends Error {
  readonly failure: LaunchFailure;

  constructor(failure: LaunchFailure) {
    super(failure.message);
    this.name = 'LaunchError';
    this.failure = failure;
  }
}

/** The failure behind a `failed` line of the launcher. */
export function failureReported(status: { errno: string; error: string }): LaunchFailure {
  return { reason: reasonOf(status), message: status.error };
}

function reasonOf(status: { errno: string; error: string }): LaunchFailure['reason'] {
  if (status.errno === 'ENOENT') {
    return 'cli_missing';
  }
  if (status.errno === 'EACCES') {
    return 'not_executable';
  }
  if (status.errno === 'EBOX') {
    return 'box_failed';
  }
  return status.error.includes('working directory') ? 'cwd_unusable' : 'other';
}

/** The failure behind an error of `spawn`, which says ENOENT for a missing program and for a missing folder alike. */
export async function failureToSpawn(error: Error, start: { perl: string; cwd: string }): Promise<LaunchFailure> {
  const unusable = await stat(start.cwd).then(
    (found) => (found.isDirectory() ? undefined : 'is not a directory'),
    (cause: unknown) => String(cause),
  );
  if (unusable !== undefined) {
    return { reason: 'cwd_unusable', message: `The working directory ${start.cwd} cannot be used: ${unusable}` };
  }
  if ('code' in error && error.code === 'ENOENT') {
    return { reason: 'perl_missing', message: `${start.perl} does not exist; install perl-base` };
  }
  return { reason: 'other', message: `The launcher could not be started: ${error.message}` };
}
