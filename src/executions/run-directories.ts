import { chownSync, mkdirSync } from 'node:fs';
import { chown, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import type { RunDirectories } from '../claude/command.ts';
import { mcpConfigPath } from '../claude/command.ts';
import type { Identity } from '../isolation/launcher-arguments.ts';
import type { ExecutionRequest } from '../protocol/execution-request.ts';
import type { ExecutionRecord, Removal } from '../storage/storage.ts';

/** Processes and threads a run may have where it has a uid of its own. */
export const MAX_PROCESSES = 512;

/** Where an attempt runs, and as whom. */
export interface AttemptPlace {
  directories: RunDirectories;
  /** Folders outside the workspace that the run changes too. */
  alsoWritable: readonly string[];
  identity: Identity | undefined;
}

/** Where things lie in the data folder. */
export function runFolder(dataDirectory: string, runId: string): string {
  return join(dataDirectory, 'runs', runId);
}

export function sessionFolder(dataDirectory: string, sessionId: string): string {
  return join(dataDirectory, 'sessions', sessionId);
}

export function workspaceFolder(dataDirectory: string, tenant: string, name: string): string {
  return join(dataDirectory, 'workspaces', tenant, name);
}

/** Where a run works, and what names its folder. */
export type RunPlace = Pick<ExecutionRecord, 'directory' | 'runId'> & { execution: { workspace: string } };

/** A directory that is lent by the operator or local to the caller: never made, emptied or given away here. */
export function isForeignWorkspace({ execution }: RunPlace): boolean {
  return /^(local|lent):/.test(execution.workspace);
}

/** Makes the folders of a run, 0700 and owned by the user it runs as. Synchronous for the sake of a fast start. */
export function prepareRunDirectories(
  record: RunPlace,
  options: { dataDirectory: string; configDirectory: string; identity: Identity | undefined },
): RunDirectories {
  const run = runFolder(options.dataDirectory, record.runId);
  const directories: RunDirectories = {
    workspace: record.directory,
    home: join(run, 'home'),
    temp: join(run, 'tmp'),
    options: join(run, 'options'),
    config: options.configDirectory,
  };
  const { workspace, home, temp, config } = directories;
  const own = isForeignWorkspace(record) ? [] : [workspace];
  for (const path of [run, home, temp, directories.options, config, ...own]) makeOwned(path, options.identity);
  return directories;
}

function makeOwned(path: string, identity: Identity | undefined): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (identity !== undefined) chownSync(path, identity.uid, identity.gid);
}

/** Writes the options that may be long or secret into 0600 files of the run's user. */
export async function writeOptionFiles(
  request: ExecutionRequest,
  directories: RunDirectories,
  identity: Identity | undefined,
): Promise<void> {
  if (request.mcpServers === undefined) return;
  const path = mcpConfigPath(directories);
  await writeFile(path, JSON.stringify({ mcpServers: request.mcpServers }), { mode: 0o600 });
  if (identity !== undefined) await chown(path, identity.uid, identity.gid);
}

/** Removes the folders of records that are gone. */
export async function removeFoldersOf({ directories, sessions }: Removal, logger: Logger): Promise<void> {
  const folders = [...directories, ...sessions.map(({ configDirectory }) => configDirectory)];
  for (const folder of folders) await removeFolder(folder, logger);
}

/** Removes a run's folder. */
export async function removeRunFolder(dataDirectory: string, runId: string, logger: Logger): Promise<void> {
  await removeFolder(runFolder(dataDirectory, runId), logger);
}

/**
 * A folder that a tool has locked against its owner stays, and one that is written into all the while may: that is no reason
 * to fail the run or the call whose records are gone.
 */
async function removeFolder(folder: string, logger: Logger): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 3 }).catch((error: unknown) =>
    logger.warn({ err: error, folder }, 'a folder could not be removed'),
  );
}

/**
 * Empties a fresh workspace and its session's folder, for another attempt from the start.
 * @throws Error for any other workspace: what is in it is not the run's to remove
 */
export async function emptyForRetry({ execution, runId }: ExecutionRecord, directories: RunDirectories): Promise<void> {
  if (execution.workspace !== runId)
    throw new Error(`${execution.workspace} is not a fresh workspace; it is never emptied`);
  for (const path of [directories.workspace, directories.config]) {
    for (const entry of await readdir(path)) await rm(join(path, entry), { recursive: true, force: true });
  }
}

/** Whether the CLI has a transcript to continue from. It lies at `projects/<folder>/<session>.jsonl` (2.1.330). */
export async function hasTranscript(configDirectory: string, sessionId: string): Promise<boolean> {
  const projects = join(configDirectory, 'projects');
  const folders = await readdir(projects).catch(missingIsEmpty);
  const found = await Promise.all(
    folders.map((folder) => stat(join(projects, folder, `${sessionId}.jsonl`)).then(() => true, missingIsFalse)),
  );
  return found.includes(true);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

function missingIsEmpty(error: unknown): string[] {
  if (isMissing(error)) return [];
  throw error;
}

function missingIsFalse(error: unknown): boolean {
  if (isMissing(error)) return false;
  throw error;
}
