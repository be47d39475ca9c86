import { ServiceError } from '../../protocol/errors.ts';
import type { RedisCommands, StorageLog } from './connection.ts';
import { refusalOf } from './translate-error.ts';

const OLDEST_VERSION = 7;
/**
 * With `everysec` Redis puts off handing its log to the system for up to 2 s while an earlier fsync is under way, and
 * confirms meanwhile (`flushAppendOnlyFile` of Redis's aof.c).
 */
const MAY_LOSE =
  'when it is killed while its disk is slow, it may lose what it has confirmed in the last 2 seconds. Set it to always';

interface Terms {
  shown: string;
  /** Whether a server is taken that forgets everything when it ends. */
  allowNoPersistence: boolean;
  log: StorageLog | undefined;
}

/**
 * Makes sure that the server keeps what it is given.
 * @throws ServiceError `storage_unavailable` naming the setting that is wrong and what to do
 */
export async function checkServer(commands: RedisCommands, terms: Terms): Promise<void> {
  const facts = factsOf(String(await commands.call('INFO', [])));
  refuseVersion(facts, terms);
  if (facts.get('redis_mode') === 'cluster') {
    throw refused(
      terms,
      'cluster-enabled is yes; this service needs a server that runs alone. Give the address of one',
    );
  }
  const policy = facts.get('maxmemory_policy') ?? (await setting(commands, 'maxmemory-policy'));
  const appending = facts.get('aof_enabled') ?? (await setting(commands, 'appendonly'));
  if (policy !== undefined && policy !== 'noeviction') {
    throw refused(
      terms,
      `maxmemory-policy is ${policy}, so it would throw executions away when its memory is full. Set maxmemory-policy to noeviction`,
    );
  }
  if (!terms.allowNoPersistence && appending !== undefined && appending !== '1' && appending !== 'yes') {
    throw refused(
      terms,
      'appendonly is no, so it would forget executions when it ends. Set appendonly to yes (and appendfsync to always), or allow a server without persistence',
    );
  }
  const unknown = [policy ?? 'maxmemory-policy', appending ?? 'appendonly'].filter((name) =>
    /maxmemory-p|appendo/.test(name),
  );
  const syncing = await setting(commands, 'appendfsync');
  if (!terms.allowNoPersistence && syncing !== undefined && syncing !== 'always') {
    terms.log?.warn({ redis: terms.shown }, `Redis has appendfsync ${syncing}; ${MAY_LOSE}`);
  }
  if (unknown.length > 0) {
    terms.log?.warn(
      { redis: terms.shown },
      `Redis does not tell its ${unknown.join(' and ')}; they must be noeviction and yes`,
    );
  }
}

function refuseVersion(facts: ReadonlyMap<string, string>, terms: Terms): void {
  const version = facts.get('valkey_version') ?? facts.get('redis_version');
  if (version === undefined) {
    terms.log?.warn({ redis: terms.shown }, `Redis does not tell its version; it must be ${OLDEST_VERSION} or newer`);
  } else if (Number.parseInt(version, 10) < OLDEST_VERSION) {
    throw refused(terms, `its version is ${version}. Use Redis or Valkey ${OLDEST_VERSION} or newer`);
  }
}

function factsOf(info: string): ReadonlyMap<string, string> {
  return new Map([...info.matchAll(/^([a-z_0-9]+):(.*?)\r?$/gm)].map(([, name = '', value = '']) => [name, value]));
}

/** `undefined` where the server does not let this user, or anybody, look. */
async function setting(commands: RedisCommands, name: string): Promise<string | undefined> {
  try {
    const reply: unknown = await commands.call('CONFIG', ['GET', name]);
    return Array.isArray(reply) && typeof reply[1] === 'string' ? reply[1] : undefined;
  } catch (error) {
    if (refusalOf(error) === 'NOPERM' || refusalOf(error) === 'ERR') return undefined;
    throw error;
  }
}

function refused({ shown }: Terms, why: string): ServiceError {
  return new ServiceError('storage_unavailable', `Redis at ${shown} cannot be used: ${why}.`);
}
