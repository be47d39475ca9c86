import { CallerCredentials } from '../auth/caller-credential.ts';
import type { Config } from '../config.ts';
import { tryCredential } from '../model-gateway/try-credential.ts';
import type { Service } from '../service.ts';

type Settings = Pick<Config, 'role' | 'callerCredentials' | 'credentials' | 'upstream' | 'proxy'>;

/**
 * Callers' own Claude credentials as keys. A node that has a Max account of its operator's makes that the one of the
 * service, in place of any that a caller has presented.
 * @throws ServiceError `storage_unavailable`
 */
export async function openCallerCredentials(
  { role, callerCredentials, credentials, upstream, proxy }: Settings,
  { storage, credential, audit }: Pick<Service, 'storage' | 'credential' | 'audit'>,
): Promise<CallerCredentials> {
  const callers = new CallerCredentials({
    storage,
    allowMax: credentials.allowMax,
    onPinned: (tenant) => void audit.record({ tenant }, { action: 'credential.pin', subject: tenant }),
    attempt: (presented) => {
      const payer = { kind: presented.kind, current: async () => presented.reveal() };
      return tryCredential({ upstream, credential: payer, proxy });
    },
  });
  if (!callerCredentials || role === 'api') return callers;
  const { kind, source } = credential.status();
  if (kind === 'api_key') await callers.account.forgetConfigured();
  if (kind !== 'max') return callers;
  const token = source === 'CLAUDE_CODE_OAUTH_TOKEN' ? credentials.oauthToken : undefined;
  await callers.account.configure(token === undefined ? undefined : await callers.fingerprint('max', token));
  return callers;
}
