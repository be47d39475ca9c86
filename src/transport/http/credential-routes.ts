import { requireOperator } from '../../auth/principal.ts';
import type { Door } from '../door.ts';
import { callerOf, principalOf, type Routes } from './routes.ts';

const FOR_THE_OPERATOR = 'This is for the operator: the scope admin and the tenant local';

/** The credentials that pay, for the operator alone: they are of no other tenant's concern. */
export function credentialRoutes({
  paying,
  audit,
}: Pick<Door, 'paying' | 'audit'>): Pick<Routes, 'authStatus' | 'resetMaxAccount'> {
  return {
    authStatus: ({ query, ...call }) => {
      requireOperator(principalOf(call), FOR_THE_OPERATOR);
      return paying.status({ test: query.test === 'true' });
    },
    resetMaxAccount: async ({ reply, ...call }) => {
      requireOperator(principalOf(call), FOR_THE_OPERATOR);
      await audit.during(callerOf(call), { action: 'credential.reset' }, () => paying.resetMaxAccount());
      reply.code(204);
    },
  };
}
