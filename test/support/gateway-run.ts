import type { GatewayRun } from '../../src/model-gateway/run-account.ts';

/** A run as the gateway is told of it, paid with the API key `sk-real`. */
export function gatewayRun(changes: Partial<GatewayRun> = {}): GatewayRun {
  return {
    executionId: 'e1',
    credential: { kind: 'api_key', current: async () => 'sk-real' },
    payer: { tenant: 'local', keyId: 'k1' },
    onCall: () => undefined,
    ...changes,
  };
}
