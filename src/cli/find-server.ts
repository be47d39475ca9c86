import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { answersAt } from '../client/answers-at.ts';
import { connectServer, type ServerClient } from '../client/server-client.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { CommandDeps } from './command-deps.ts';

const ServerFile = z.object({ url: z.string(), pid: z.int().positive() });

/** Which server a command is to talk to, as its options say. */
export interface ServerOptions {
  url?: string;
  key?: string;
}

/**
 * The server a command talks to: the one that `--url` or CC_URL names, or else the one that serves this data folder.
 * The key is `--key`, CC_API_KEY, or for a server of this machine the one in the data folder.
 * @returns undefined when none is named and none serves the data folder
 * @throws ServiceError `not_running` when there is only a key
 */
export async function findServer(deps: CommandDeps, options: ServerOptions): Promise<ServerClient | undefined> {
  const named = deps.namedServer();
  const url = options.url ?? named.url ?? (await servingHere(deps.dataDirectory()));
  if (url !== undefined) {
    const key = options.key ?? named.key ?? (isLoopback(url) ? await keptKey(deps.dataDirectory()) : undefined);
    return connectServer({ url, key });
  }
  if (options.key === undefined) return undefined;
  throw new ServiceError('not_running', `${noServer(deps)} --key is for a server; leave it out to work without one.`);
}

/**
 * As `findServer`, for what only a server can do.
 * @throws ServiceError `not_running` when there is none
 */
export async function requireServer(deps: CommandDeps, options: ServerOptions): Promise<ServerClient> {
  const server = await findServer(deps, options);
  if (server !== undefined) return server;
  throw new ServiceError(
    'not_running',
    `${noServer(deps)} A run that was started without a server is ended with Ctrl-C where it runs.`,
  );
}

function noServer(deps: CommandDeps): string {
  return `No server serves ${deps.dataDirectory()}; start one with ${deps.invocation} serve, or name one with --url.`;
}

/**
 * The URL in `server.json`, which a server writes into its data folder. One that died left it behind: its process is gone,
 * and whatever listens there by now is not given the key.
 */
async function servingHere(dataDirectory: string): Promise<string | undefined> {
  const text = await readIfThere(join(dataDirectory, 'server.json'));
  const url = text === undefined ? undefined : urlIn(text);
  return url !== undefined && (await answersAt(url)) ? url : undefined;
}

/** Undefined for what is not what a server writes, or only half of it. */
function urlIn(text: string): string | undefined {
  try {
    const written: unknown = JSON.parse(text);
    const { url, pid } = ServerFile.parse(written);
    return URL.canParse(url) && isAlive(pid) ? url : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    if (error instanceof Error && 'code' in error && error.code === 'EPERM') return true;
    throw error;
  }
}

async function keptKey(dataDirectory: string): Promise<string | undefined> {
  const key = (await readIfThere(join(dataDirectory, 'key')))?.trim();
  return key === '' ? undefined : key;
}

const NOT_THERE: readonly unknown[] = ['ENOENT', 'ENOTDIR', 'EACCES'];

/** A data folder that cannot be used at all is told of by what opens it. */
async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && NOT_THERE.includes(error.code)) return undefined;
    throw error;
  }
}

/** Only what stays on this machine is given the key that lies on it. */
function isLoopback(url: string): boolean {
  const host = URL.canParse(url) ? new URL(url).hostname : '';
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}
