import type { UsageLimits } from '../protocol/key-schemas.ts';
import type { Quota } from '../storage/quota.ts';
import type { Storage } from '../storage/storage.ts';
import type { Caller } from './new-execution.ts';

/** What the operator has set: for each key that has no limit of its own, and for each tenant. */
export interface LimitSettings {
  key: UsageLimits;
  tenant: UsageLimits;
}

/** The limits that a caller's work counts against: of the key, then of its tenant. A caller without a key has none. */
export function quotasOf({ tenant, keyId, limits }: Caller, settings: LimitSettings): Quota[] {
  if (keyId === undefined) return [];
  const quotas = [
    { tenant, keyId, limits: ownBefore(limits ?? {}, settings.key) },
    { tenant, keyId: undefined, limits: settings.tenant },
  ];
  return quotas.filter(({ limits: found }) => Object.values(found).some((limit) => limit !== undefined));
}

function ownBefore(own: UsageLimits, usual: UsageLimits): UsageLimits {
  return {
    concurrentRuns: own.concurrentRuns ?? usual.concurrentRuns,
    startsPerMinute: own.startsPerMinute ?? usual.startsPerMinute,
    bytesPerDay: own.bytesPerDay ?? usual.bytesPerDay,
  };
}

/**
 * Counts what a caller sends beside requests for executions.
 * @throws ServiceError `quota_exceeded`
 */
export async function takeBytes(
  { storage, settings }: { storage: Pick<Storage, 'takeBytes'>; settings: { limits: LimitSettings } },
  caller: Caller,
  bytes: number,
): Promise<void> {
  const quotas = quotasOf(caller, settings.limits).filter(({ limits }) => limits.bytesPerDay !== undefined);
  if (quotas.length > 0) await storage.takeBytes(quotas, bytes);
}
