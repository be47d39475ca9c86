import { ServiceError } from '../protocol/errors.ts';
import type { UsageLimits } from '../protocol/key-schemas.ts';

/** Whose limits they are. */
export interface Quota {
  tenant: string;
  /** Undefined for the tenant as a whole. */
  keyId: string | undefined;
  limits: UsageLimits;
}

export const START_WINDOW_MS = 60_000;
const RUN_RETRY_AFTER_MS = 5_000;

/** As it stands in the stores; a tenant and a key id are written in percent-encoding, so that they hold no colon. */
export function ownerOf({ tenant, keyId }: Quota): string {
  const scope = encodeURIComponent(tenant);
  return keyId === undefined ? `tenant:${scope}` : `key:${scope}:${encodeURIComponent(keyId)}`;
}

/** The UTC day of a time, as `2030-01-31`. */
export function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

/** What is said when a limit stands in the way. `at` and `oldest` (the first start that counts) are in ms. */
export function overQuota(
  { keyId, limits }: Quota,
  over: { limit: keyof UsageLimits; at: number; oldest?: number },
): ServiceError {
  const whose = keyId === undefined ? 'This tenant' : 'This key';
  switch (over.limit) {
    case 'concurrentRuns':
      return new ServiceError(
        'too_many',
        `${whose} may have ${limits.concurrentRuns} executions that have not finished (concurrentRuns), and has them; wait for one to end, or cancel one`,
        { data: { retryAfterMs: RUN_RETRY_AFTER_MS } },
      );
    case 'startsPerMinute': {
      const retryAfterMs = Math.max(1, (over.oldest ?? over.at) + START_WINDOW_MS - over.at);
      return new ServiceError(
        'too_many',
        `${whose} may start ${limits.startsPerMinute} executions a minute (startsPerMinute), and has; try again later`,
        { data: { retryAfterMs } },
      );
    }
    case 'bytesPerDay':
      return new ServiceError(
        'quota_exceeded',
        `${whose} may send ${limits.bytesPerDay} bytes a day (bytesPerDay), and this would be more; the day ends at 00:00 UTC`,
        { data: { retryAfterMs: Date.parse(dayOf(over.at)) + 24 * 3600_000 - over.at } },
      );
  }
}
