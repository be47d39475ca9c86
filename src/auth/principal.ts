import type { UsageLimits } from '../storage/quota.ts';

/** Who is calling, once a key has said so. */
export interface Principal {
  tenant: string;
  /** Which key it was, as logs may name it. */
  keyId: string;
  /** What the key may use up; null for no limits of its own. */
  limits: UsageLimits | null;
}
