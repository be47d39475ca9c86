import type { Principal } from '../../src/auth/principal.ts';

/** The operator, as far as nothing else is said. */
export function principalWith(changes: Partial<Principal>): Principal {
  return {
    tenant: 'local',
    keyId: 'test',
    scopes: ['admin'],
    kind: 'key',
    limits: null,
    endsAt: undefined,
    stands: async () => true,
    ...changes,
  };
}
