import { Command, Option } from 'commander';
import { type KeyClient, serverKeys } from '../client/server-keys.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { CommandDeps } from './command-deps.ts';
import { keyOption } from './open-service.ts';

export interface KeyOptions {
  url?: string;
  key?: string;
  json?: boolean;
}

/** A command about keys. */
export function keyCommand(name: string): Command {
  const where = 'the server to ask; else CC_URL, or without a server the store of this machine';
  return new Command(name)
    .addOption(new Option('--url <url>', where))
    .addOption(keyOption())
    .option('--json', 'print JSON');
}

/**
 * Does something with the keys of the server that is named, or else with those in the store of this machine.
 * @throws ServiceError `not_running` where there is a key and no server that it is for
 */
export async function withKeys(
  deps: CommandDeps,
  options: KeyOptions,
  act: (keys: KeyClient) => Promise<void>,
): Promise<void> {
  const keys = await findKeys(deps, options);
  try {
    await act(keys);
  } finally {
    await keys.close();
  }
}

async function findKeys(deps: CommandDeps, options: KeyOptions): Promise<KeyClient> {
  const named = deps.namedServer();
  const url = options.url ?? named.url;
  if (url !== undefined) return serverKeys({ url, key: options.key ?? named.key });
  if (options.key === undefined) return deps.openKeys();
  throw new ServiceError(
    'not_running',
    '--key is for a server; name one with --url, or leave it out to work on the store of this machine.',
  );
}
