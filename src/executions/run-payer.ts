import type { GatewayCredential } from '../model-gateway/gateway-headers.ts';
import { paysByItself } from '../protocol/paying-tenant.ts';
import type { ExecutionRecord } from '../storage/storage.ts';
import { NO_ENVELOPE_KEY } from './credential-envelope.ts';
import type { CallerCredential } from './new-execution.ts';
import type { GatewayAccess } from './run-context.ts';

/**
 * What pays for a run: the caller's own credential out of its envelope, else the operator's. That one never stands in
 * for a caller's that cannot be had.
 */
export function payerOf(
  { operator, envelopes }: Pick<GatewayAccess, 'operator' | 'envelopes'>,
  { execution, tenant, envelope }: ExecutionRecord,
): { credential: GatewayCredential } | { problem: string } {
  if (envelope === undefined) return paysByItself(tenant) ? { problem: LOST } : operator;
  if (envelopes === undefined) return { problem: NO_ENVELOPE_KEY };
  const secret = envelopes.open(envelope, { executionId: execution.id, tenant });
  if (secret === undefined) return { problem: CLOSED };
  return { credential: { kind: credentialKind(secret), current: async () => secret } };
}

const LOST = 'The Claude credential that was presented for this run is gone. Present it again with a new request.';
const CLOSED =
  'The envelope with the Claude credential of this run does not open: the node that runs it has another CC_ENVELOPE_KEY than the one that accepted it, or the envelope was changed. The operator gives all nodes the same key; then present the credential again with a new request.';

/** Claude Max tokens begin with `sk-ant-oat`; what else there is, is an API key. */
export function credentialKind(secret: string): CallerCredential['kind'] {
  return secret.startsWith('sk-ant-oat') ? 'max' : 'api_key';
}
