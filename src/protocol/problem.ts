import { z } from 'zod';
import { ERRORS, type ErrorCode } from './errors.ts';

const CODES = Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]];

/** A refusal over HTTP (RFC 9457); what stands behind `requestId` says more than the refusal itself. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  /** What happened, why, and what to do; absent for a defect of the service. */
  detail: z.string().optional(),
  code: z.enum(CODES),
  /** Names the request in the log of the service. */
  requestId: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  retryAfterMs: z.int().optional(),
  firstSeq: z.int().optional(),
  lastSeq: z.int().optional(),
  state: z.string().optional(),
  scope: z.string().optional(),
});
export type Problem = z.infer<typeof Problem>;
