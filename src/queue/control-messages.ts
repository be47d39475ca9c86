import { z } from 'zod';
import { ERRORS, type ErrorCode, ServiceError } from '../protocol/errors.ts';
import { Execution } from '../protocol/execution.ts';
import { Uuid } from '../protocol/uuid.ts';

const InstanceId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);

/** What one instance asks another. `from`: the instance that is answered. */
export const Question = z.object({
  id: Uuid,
  from: InstanceId,
  request: z.object({
    tenant: z.string(),
    executionId: Uuid,
    action: z.enum(['cancel', 'pause', 'resume', 'input', 'snapshot']),
    text: z.string().exactOptional(),
  }),
});
export type Question = z.infer<typeof Question>;

const Code = z.custom<ErrorCode>((value) => typeof value === 'string' && Object.hasOwn(ERRORS, value));

const Refusal = z.object({
  code: Code,
  message: z.string(),
  data: z.object({
    errors: z.array(z.object({ path: z.string(), message: z.string() })).exactOptional(),
    retryAfterMs: z.number().exactOptional(),
    firstSeq: z.number().exactOptional(),
    lastSeq: z.number().exactOptional(),
    state: z.string().exactOptional(),
  }),
});

export const Answer = z.union([
  z.object({ id: Uuid, execution: z.object(Execution.shape) }),
  z.object({ id: Uuid, refusal: Refusal }),
]);
export type Answer = z.infer<typeof Answer>;

/** An error as it travels; what is no `ServiceError` is a defect there, and says no more than that. */
export function toRefusal(error: unknown): z.infer<typeof Refusal> {
  if (!(error instanceof ServiceError)) {
    return { code: 'internal', message: 'The service that runs the execution failed', data: {} };
  }
  const { code, message, data } = error;
  return { code, message, data };
}
