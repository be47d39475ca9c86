import type { MaxAccount } from '../auth/max-account.ts';
import type { Config } from '../config.ts';
import { type AuthStatus, NodeCredential } from '../protocol/credential-status.ts';
import { parsedJson } from '../protocol/json.ts';
import type { Service } from '../service.ts';

/**
 * Makes what answers which credentials pay. Nodes that run executions tell of themselves through the store, so that an API
 * without a credential can answer for all.
 */
export function authStatusOf(
  { credential, storage }: Pick<Service, 'credential' | 'storage'>,
  { role, callerCredentials, credentials }: Pick<Config, 'role' | 'callerCredentials' | 'credentials'>,
  account: MaxAccount,
): (options: { test: boolean }) => Promise<AuthStatus> {
  return async ({ test }) => {
    if (role !== 'api') {
      if (test) await credential.test();
      await credential.announce();
    }
    const notes = await storage.listNotes();
    const nodes = notes.flatMap(({ note }) => NodeCredential.safeParse(parsedJson(note)).data ?? []);
    return {
      callerCredentials: callerCredentials ? 'on' : 'off',
      maxAllowed: credentials.allowMax,
      maxAccount: await account.state(),
      nodes,
    };
  };
}
