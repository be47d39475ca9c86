import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { RUN_MARKER, sweepMarked } from '../isolation/marker-sweep.ts';
import { parsedJson } from '../protocol/json.ts';
import type { Storage, Tenant } from '../storage/storage.ts';
import { runFolder, sessionFolder, workspaceFolder } from './run-directories.ts';

/** What names the folders and processes of a waiting process, and the service it belongs to. */
export interface SpareNames {
  runId: string;
  sessionId: string;
  tenant: Tenant;
  instanceId: string;
}

function noteOf(dataDirectory: string, runId: string): string {
  return join(dataDirectory, 'spares', `${runId}.json`);
}

/** Notes a waiting process before anything of it exists, so that a later service finds what a dead one left. */
export async function noteSpare(dataDirectory: string, names: SpareNames): Promise<void> {
  await mkdir(join(dataDirectory, 'spares'), { recursive: true, mode: 0o700 });
  await writeFile(noteOf(dataDirectory, names.runId), JSON.stringify(names), { mode: 0o600 });
}

export async function forgetSpare(dataDirectory: string, runId: string): Promise<void> {
  await rm(noteOf(dataDirectory, runId), { force: true });
}

/** Removes all that a waiting process had, the note last. */
export async function removeSpare(dataDirectory: string, { runId, sessionId, tenant }: SpareNames): Promise<void> {
  const folders = [
    runFolder(dataDirectory, runId),
    sessionFolder(dataDirectory, sessionId),
    workspaceFolder(dataDirectory, tenant, runId),
  ];
  for (const folder of folders) await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  await forgetSpare(dataDirectory, runId);
}

/**
 * Removes the waiting processes of dead services, with their folders. One whose session is stored was taken by an
 * execution, which has its folders now.
 */
export async function sweepSpares(
  { storage, logger }: { storage: Storage; logger: Logger },
  dataDirectory: string,
): Promise<void> {
  for (const file of await readdir(join(dataDirectory, 'spares')).catch(missingIsEmpty)) {
    const names = readNames(await readFile(join(dataDirectory, 'spares', file), 'utf8').catch(missingIsEmpty));
    if (names === undefined || file !== `${names.runId}.json`) continue;
    if (await storage.instanceAlive(names.instanceId)) continue;
    if ((await storage.getSession(names.tenant, names.sessionId)) !== undefined) {
      await forgetSpare(dataDirectory, names.runId);
      continue;
    }
    const swept = await sweepMarked({ name: RUN_MARKER, value: names.runId });
    await removeSpare(dataDirectory, names);
    logger.info({ runId: names.runId, swept }, 'removed a waiting process that a dead service had left');
  }
}

/** Each becomes part of a path. */
const ID = /^[\w-]+$/;
const TENANT = /^[a-z0-9][a-z0-9._-]*$/;

/** `undefined` for a note that is just being written, or was cut short: it names nothing. */
function readNames(text: string | string[]): SpareNames | undefined {
  const note = typeof text === 'string' ? parsedJson(text) : undefined;
  const { runId, sessionId, tenant, instanceId }: Partial<Record<keyof SpareNames, unknown>> = note ?? {};
  if (!isName(runId, ID) || !isName(sessionId, ID) || !isName(instanceId, ID)) return undefined;
  return isName(tenant, TENANT) ? { runId, sessionId, tenant, instanceId } : undefined;
}

function isName(value: unknown, form: RegExp): value is string {
  return typeof value === 'string' && form.test(value);
}

function missingIsEmpty(error: unknown): string[] {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
  throw error;
}
