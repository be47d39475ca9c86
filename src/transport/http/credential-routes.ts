import { isOperator, type Principal } from '../../auth/principal.ts';
import { ServiceError } from '../../protocol/errors.ts';
import type { Door } from '../door.ts';
import { callerOf, principalOf, type Routes } from './routes.ts';

/** The credentials that pay, for the operator alone: they are of no other tenant's concern. */
export function credentialRoutes({
  paying,
  audit,
}: Pick<Door, 'paying' | 'audit'>): Pick<Routes, 'authStatus' | 'resetMaxAccount'> {
  return {
    authStatus: ({ query, ...call }) => {
      requireOperator(principalOf(call));
      return paying.status({ test: query.test === 'true' });
    },
    resetMaxAccount: async ({ reply, ...call }) => {
      requireOperator(principalOf(call));
      await audit.during(callerOf(call), { action: 'credential.reset' }, () => paying.resetMaxAccount());
      reply.code(204);
    },
  };
}

/** @throws ServiceError `forbidden` */
function requireOperator(principal: Principal): void {
  if (isOperator(principal)) return;
  throw new ServiceError('forbidden', 'This is for the operator: the scope admin and the tenant local');
}
