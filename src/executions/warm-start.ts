import { statSync } from 'node:fs';
import { claudeCommand } from '../claude/command.ts';
import { newId } from '../protocol/ids.ts';
import { chooseIdentity } from './identity.ts';
import { openRunBox, type RunBox } from './run-box.ts';
import type { RunContext } from './run-context.ts';
import { MAX_PROCESSES, prepareRunDirectories, sessionFolder, workspaceFolder } from './run-directories.ts';
import { noteSpare, removeSpare } from './warm-place.ts';
import type { WarmProfile } from './warm-profile.ts';
import { type BoundFolder, Spare } from './warm-spare.ts';

export type WarmContext = Pick<
  RunContext,
  'access' | 'binary' | 'egress' | 'isolation' | 'logger' | 'settings' | 'starts'
>;

/**
 * Starts a process that waits for a run with this profile, in folders of its own. `undefined` where there can be none:
 * nothing to start, no way to the model, or a run that would be refused.
 */
export async function startSpare(context: WarmContext, profile: WarmProfile): Promise<Spare | undefined> {
  const { access, binary, isolation, logger, settings } = context;
  const { dataDirectory, instanceId, runUid, serviceUid } = settings;
  if (!binary.usable) return undefined;
  const { tenant, request, model } = profile;
  const names = { runId: newId(), sessionId: newId(), tenant, instanceId };
  const place = {
    execution: { workspace: names.runId },
    directory: workspaceFolder(dataDirectory, tenant, names.runId),
    runId: names.runId,
  };
  const policy = { serviceUid, runUid, dataDirectory, binary: binary.path };
  const { identity, stayedRootBecause } = await chooseIdentity(place, policy);
  const refused = isolation.level !== 'L3' && request.permissionMode === 'bypassPermissions';
  if (stayedRootBecause !== undefined && refused) return undefined;
  const bound = profile.workspace === undefined ? undefined : boundFolder(dataDirectory, tenant, profile.workspace);
  if (bound === null) return undefined;
  await noteSpare(dataDirectory, names);
  let box: RunBox | undefined;
  try {
    const configDirectory = sessionFolder(dataDirectory, names.sessionId);
    const directories = prepareRunDirectories(place, { dataDirectory, configDirectory, identity });
    const token = access.gateway.issueToken();
    const alsoWritable = bound === undefined ? [] : [bound.path];
    const { proxied } = profile;
    box = await openRunBox(context, { directories, alsoWritable, identity, gateway: access.gateway, proxied });
    const claimed = profile.kind === 'named';
    const command = claudeCommand({
      binary: binary.path,
      request,
      model,
      session: { id: names.sessionId, resume: false, claimed },
      directories: claimed ? { ...directories, workspace: directories.home } : directories,
      runId: names.runId,
      gateway: { baseUrl: access.gateway.baseUrl, token, credentialKind: profile.credentialKind },
      inherited: { ...settings.inherited, ...box.egress?.environment },
    });
    const limits = identity === undefined ? {} : { identity, limits: { processes: MAX_PROCESSES } };
    const claude = { ...box.enclose(command), ...limits, maxLineBytes: settings.maxLineBytes };
    const spare = new Spare({ names, profile, token, egress: box.egress, identity, bound, claude });
    spare.gone
      .then(box.close)
      .catch((error: unknown) => logger.error({ err: error, runId: names.runId }, 'the box of a spare was not closed'));
    return spare;
  } catch (error) {
    await box?.close();
    await removeSpare(dataDirectory, names);
    throw error;
  }
}

/** The folder that a box is made around; null where there is none yet, so that the first run in it starts cold. */
function boundFolder(dataDirectory: string, tenant: string, name: string): BoundFolder | null {
  const path = workspaceFolder(dataDirectory, tenant, name);
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? null : { path, inode: found.ino };
}
