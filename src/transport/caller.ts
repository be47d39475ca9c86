import type { Principal } from '../auth/principal.ts';
import type { Caller } from '../executions/new-execution.ts';

/** A principal as the core knows it: whose records, whose spend, and what pays. */
export function callerFrom({ tenant, keyId, credential }: Principal): Caller {
  return { tenant, keyId, ...(credential === undefined ? {} : { credential }) };
}
