import { Option } from 'commander';
import type { ExecutorClient } from '../client/executor-client.ts';
import type { CommandDeps } from './command-deps.ts';
import { findServer, type ServerOptions } from './find-server.ts';

/** A service that a command talks to. */
export interface OpenedService {
  client: ExecutorClient;
  /** Where it is; undefined for one that is embedded in this process. */
  url: string | undefined;
  /** What stands behind a command that a person may paste, so that it finds the same service. */
  pasted: string;
}

/** The server that is named or serves the data folder, or else a service of this process. */
export async function openService(
  deps: CommandDeps,
  options: ServerOptions,
  directory: string | undefined,
): Promise<OpenedService> {
  const server = await findServer(deps, options);
  if (server === undefined) return embedded(deps, directory);
  return { client: server, url: server.url, pasted: options.url === undefined ? '' : ` --url ${server.url}` };
}

/** A service of this process, whatever else there is. */
export async function embedded(deps: CommandDeps, directory: string | undefined): Promise<OpenedService> {
  return { client: await deps.openClient(directory), url: undefined, pasted: '' };
}

export function urlOption(): Option {
  return new Option('--url <url>', 'the server to talk to; else CC_URL, or the one that serves this data folder');
}

export function keyOption(): Option {
  return new Option('--key <key>', 'what opens it; else CC_API_KEY, or on this machine the key in the data folder');
}
