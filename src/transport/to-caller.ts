import type { Principal } from '../auth/principal.ts';
import type { Caller } from '../executions/new-execution.ts';

/** Who asks the core, for a principal who came by a request. */
export function toCaller(
  { tenant, keyId, limits }: Principal,
  { address, requestId }: { address: string; requestId: string },
): Caller {
  return { tenant, keyId, limits, address, requestId };
}
