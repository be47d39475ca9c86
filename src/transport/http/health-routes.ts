import { isOperator } from '../../auth/principal.ts';
import type { HealthDetail, HealthState } from '../../protocol/health.ts';
import type { Door } from '../door.ts';
import type { Call } from './call.ts';
import type { Routes } from './routes.ts';

/** How the service is. All but the operator are told the status alone: the rest is of no tenant. */
export function healthRoutes(door: Door): Pick<Routes, 'health' | 'live' | 'ready'> {
  return {
    health: (call) => told(door, call),
    live: async () => ({ status: 'ok' }),
    ready: async (call) => {
      const health = await told(door, call);
      call.reply.code(health.status === 'ok' ? 200 : 503);
      return health;
    },
  };
}

async function told(door: Door, { principal }: Pick<Call<'health'>, 'principal'>): Promise<HealthState | HealthDetail> {
  const detail = await door.health();
  return principal !== undefined && isOperator(principal) ? detail : { status: detail.status };
}
