import type { Principal } from '../auth/principal.ts';
import type { Caller } from '../executions/new-execution.ts';

/** A principal who came by a request, as the core knows it: whose records, whose spend, and what pays. */
export function toCaller(
  { tenant, keyId, limits, credential }: Principal,
  { address, requestId }: { address: string; requestId: string },
): Caller {
  return { tenant, keyId, limits, address, requestId, ...(credential === undefined ? {} : { credential }) };
}
