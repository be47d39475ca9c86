import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { Callers, type CallersOptions } from '../auth/callers.ts';
import { keyInPem } from '../auth/issuer-keys.ts';
import { KeySet } from '../auth/key-set.ts';
import { ServiceKeys } from '../auth/service-keys.ts';
import type { Config } from '../config.ts';
import type { KeyStorage } from '../storage/key-storage.ts';
import type { PayerStorage } from '../storage/payer-storage.ts';

/**
 * What says who calls, with the keys it goes by.
 * @throws ServiceError `storage_unavailable`
 */
export async function openCallers(
  config: Pick<Config, 'auth' | 'apiKey'>,
  {
    storage,
    claude,
    logger,
  }: { storage: KeyStorage & Pick<PayerStorage, 'keepValue'>; claude?: CallersOptions['claude']; logger: Logger },
): Promise<{ callers: Callers; keys: ServiceKeys }> {
  const { auth, apiKey: operatorKey } = config;
  const keys = new ServiceKeys({ storage, operatorKey });
  const jwtSecret = auth.jwtSecret ?? (await storage.keepValue('jwt-secret', randomBytes(48).toString('base64url')));
  const callers = new Callers({
    storage,
    keys,
    jwtSecret,
    issuer: issuerOf(auth.issuer, logger),
    claude,
    open: !auth.on,
  });
  return { callers, keys };
}

function issuerOf(issuer: Config['auth']['issuer'], logger: Logger): CallersOptions['issuer'] {
  if (issuer === undefined) return undefined;
  const { name, audience, jwks, publicKey } = issuer;
  if (publicKey !== undefined) {
    const key = keyInPem(publicKey);
    return { issuer: name, audience, findKey: async () => key };
  }
  const set = new KeySet({ source: jwks ?? '', logger });
  return {
    issuer: name,
    audience,
    findKey: async (kid) => (kid === undefined ? undefined : set.find(kid)),
  };
}
