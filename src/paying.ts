import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { CredentialEnvelopes } from './executions/credential-envelope.ts';
import { DailySpend } from './executions/daily-spend.ts';
import { ownEnvelopeKey } from './executions/envelope-key.ts';
import type { GatewayAccess } from './executions/run-context.ts';
import type { CredentialFound } from './model-gateway/credential.ts';
import { startModelGateway } from './model-gateway/model-gateway.ts';
import { OperatorCredential } from './model-gateway/operator-credential.ts';
import { tryCredential } from './model-gateway/try-credential.ts';
import type { NodeCredential } from './protocol/credential-status.ts';
import { isAway } from './storage/spool/store-away.ts';
import type { Storage } from './storage/storage.ts';

/** How often a node says again how its credential is, should the store have lost it. */
const PUBLISH_INTERVAL_MS = 30_000;
/** How late a changed limit of a key may count. */
const REMEMBERED_MS = 5_000;
const MAX_REMEMBERED = 10_000;

export interface Paying {
  access: GatewayAccess;
  credential: Pick<OperatorCredential, 'status' | 'test'> & { announce(): Promise<void> };
  /** Whether some run could be paid for here. */
  possible: boolean;
  close(): Promise<void>;
}

interface Parts {
  found: CredentialFound;
  storage: Storage;
  instanceId: string;
  logger: Logger;
}

/** Who pays for model calls: the gateway, the operator's credential, limits of spend, and envelopes of callers' credentials. */
export async function openPaying(config: Config, { found, storage, instanceId, logger }: Parts): Promise<Paying> {
  const announce = (): Promise<void> => publishStatus(config, { operator, storage, instanceId, logger });
  const publish = (): void => void announce();
  const operator = new OperatorCredential({
    found,
    attempt: (credential) => tryCredential({ upstream: config.upstream, credential, proxy: config.proxy }),
    onChange: publish,
    logger,
  });
  const { source, description, problem } = operator.status();
  if (config.role !== 'api') logger.info({ source, description, problem }, 'the Claude credential of the operator');
  const keyLimits = remembered(async (keyId: string) => (await storage.getKey(keyId))?.limits?.spendUsdPerDay);
  const spend = new DailySpend({
    storage,
    limitsOf: async ({ keyId }) => ({
      tenantUsd: config.spendPerDayUsd,
      keyUsd: keyId === undefined ? undefined : await keyLimits(keyId),
    }),
    logger,
  });
  const envelopes = await openEnvelopes(config);
  const gateway = await startModelGateway({
    upstream: config.upstream,
    spend,
    proxy: config.proxy,
    logger,
    listen: { host: '127.0.0.1', port: 0 },
  });
  const publishing = setInterval(publish, PUBLISH_INTERVAL_MS).unref();
  publish();
  return {
    access: { gateway, operator: operator.access, envelopes },
    credential: { status: () => operator.status(), test: () => operator.test(), announce },
    possible: found.ok || (config.callerCredentials && found.source === null),
    close: async () => {
      clearInterval(publishing);
      await gateway.close();
      await spend.close();
    },
  };
}

async function openEnvelopes(config: Config): Promise<CredentialEnvelopes | undefined> {
  const { callerCredentials, envelopeKey, dataDirectory } = config;
  if (envelopeKey !== undefined) return new CredentialEnvelopes(envelopeKey);
  return callerCredentials ? new CredentialEnvelopes(await ownEnvelopeKey(dataDirectory)) : undefined;
}

/** Tells the other nodes how the credential is here; an outage is told by others, and it is said again. */
async function publishStatus(
  { role }: Config,
  { operator, storage, instanceId, logger }: Omit<Parts, 'found'> & { operator: OperatorCredential },
): Promise<void> {
  if (role === 'api') return;
  const note: NodeCredential = { instanceId, role, at: new Date().toISOString(), credential: operator.status() };
  try {
    await storage.publishNote({ instanceId, note: JSON.stringify(note) });
  } catch (error) {
    if (!isAway(error)) logger.error({ err: error }, 'the state of the Claude credential was not told to other nodes');
  }
}

/** Asks again after 5 s; what fails is not remembered. */
function remembered<T>(ask: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const known = new Map<string, { at: number; value: T }>();
  return async (key) => {
    const found = known.get(key);
    if (found !== undefined && performance.now() - found.at < REMEMBERED_MS) return found.value;
    if (known.size >= MAX_REMEMBERED) known.clear();
    const value = await ask(key);
    known.set(key, { at: performance.now(), value });
    return value;
  };
}
