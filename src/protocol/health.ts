import { z } from 'zod';

/**
 * `starting`: it has not taken up its work yet; `draining`: it ends the runs it has and takes no more; `broken`: something
 * it cannot do without is missing.
 */
export const HealthState = z.object({ status: z.enum(['starting', 'ok', 'draining', 'broken']) });
export type HealthState = z.infer<typeof HealthState>;

const Check = z.object({ ok: z.boolean(), detail: z.string() });

/** How each thing is that the service depends on; `detail` is for people and says how to repair it. */
export const HealthDetail = HealthState.extend({
  version: z.string(),
  role: z.enum(['all', 'api', 'worker']),
  checks: z.object({
    storage: Check,
    queue: Check,
    disk: Check,
    claude: Check,
    credential: Check,
    isolation: Check,
  }),
  /** Executions that run here, and that wait here. */
  running: z.int(),
  waiting: z.int(),
  isolation: z.enum(['L1', 'L2', 'L3']),
});
export type HealthDetail = z.infer<typeof HealthDetail>;
