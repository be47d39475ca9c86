import { statSync } from 'node:fs';
import type { LiveExecution } from './live-execution.ts';
import type { RunContext } from './run-context.ts';
import type { AttemptPlace } from './run-directories.ts';
import type { BoundFolder, Spare } from './warm-spare.ts';

/** The process that waits for this run, in the run's place and ready for its prompt; `undefined` when it has to start cold. */
export async function takeSpare(
  { warm }: RunContext,
  live: LiveExecution,
  { directories, identity }: AttemptPlace,
): Promise<Spare | undefined> {
  const spare = live.takeSpare();
  if (spare === undefined) return undefined;
  const sameUser = spare.identity?.uid === identity?.uid && spare.identity?.gid === identity?.gid;
  const fits = sameUser && showsStill(spare.bound, directories.workspace);
  const claimed = fits && (spare.profile.kind === 'fresh' || (await claim(spare, live, directories.workspace)));
  warm.used(spare);
  if (claimed && spare.alive) return spare;
  if (fits && !claimed && spare.alive && live.stop === undefined) warm.claimRefused();
  await spare.kill();
  return undefined;
}

/** Whether the folder that its box shows is the one to work in. */
function showsStill(bound: BoundFolder | undefined, workspace: string): boolean {
  return bound === undefined || (bound.path === workspace && statSync(workspace).ino === bound.inode);
}

/** A run that is to stop does not wait for the answer. */
async function claim(spare: Spare, live: LiveExecution, workspace: string): Promise<boolean> {
  const stopped = new Promise<false>((resolve) => live.onStop(() => resolve(false)));
  return Promise.race([spare.claim(workspace), stopped]);
}
