import { claudeCommand } from '../claude/command.ts';
import { newId } from '../protocol/ids.ts';
import { chooseIdentity } from './identity.ts';
import type { RunContext } from './run-context.ts';
import { MAX_PROCESSES, prepareRunDirectories, sessionFolder, workspaceFolder } from './run-directories.ts';
import { noteSpare, removeSpare } from './warm-place.ts';
import type { WarmProfile } from './warm-profile.ts';
import { Spare } from './warm-spare.ts';

export type WarmContext = Pick<RunContext, 'access' | 'binary' | 'egress' | 'logger' | 'settings' | 'starts'>;

/**
 * Starts a process that waits for a run with this profile, in folders of its own. `undefined` where there can be none:
 * nothing to start, no way to the model, or a run that would be refused.
 */
export async function startSpare(context: WarmContext, profile: WarmProfile): Promise<Spare | undefined> {
  const { access, binary, settings } = context;
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
  if (stayedRootBecause !== undefined && request.permissionMode === 'bypassPermissions') return undefined;
  await noteSpare(dataDirectory, names);
  const egress = profile.proxied ? await context.egress.open() : undefined;
  try {
    const configDirectory = sessionFolder(dataDirectory, names.sessionId);
    const directories = prepareRunDirectories(place, { dataDirectory, configDirectory, identity });
    const token = access.gateway.issueToken();
    const claimed = profile.kind === 'named';
    const command = claudeCommand({
      binary: binary.path,
      request,
      model,
      session: { id: names.sessionId, resume: false, claimed },
      directories: claimed ? { ...directories, workspace: directories.home } : directories,
      runId: names.runId,
      gateway: { baseUrl: access.gateway.baseUrl, token, credentialKind: profile.credentialKind },
      inherited: { ...settings.inherited, ...egress?.environment },
    });
    const limits = identity === undefined ? {} : { identity, limits: { processes: MAX_PROCESSES } };
    const claude = { command, ...limits, maxLineBytes: settings.maxLineBytes };
    const spare = new Spare({ names, profile, token, egress, identity, claude });
    void spare.gone.then(() => egress?.close());
    return spare;
  } catch (error) {
    await egress?.close();
    await removeSpare(dataDirectory, names);
    throw error;
  }
}
