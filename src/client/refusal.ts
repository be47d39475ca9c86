import { z } from 'zod';
import { ERRORS, type ErrorCode, type ErrorData, ServiceError } from '../protocol/errors.ts';

/** What is said beside the code; a newer service may say more. */
const Facts = z.object({
  errors: z.array(z.object({ path: z.string(), message: z.string() })).exactOptional(),
  retryAfterMs: z.number().min(0).exactOptional(),
  firstSeq: z.int().exactOptional(),
  lastSeq: z.int().exactOptional(),
  state: z.string().exactOptional(),
});
const Told = z.object({ code: z.string(), detail: z.string().optional() });

/**
 * What a service has refused, as the error that it threw itself. A code that is unknown here is `internal`.
 * @param told the problem document, or `{code, detail, …}` made from a JSON-RPC error
 * @returns undefined when `told` is no such thing
 */
export function refusalOf(told: unknown): ServiceError | undefined {
  const parsed = Told.safeParse(told);
  if (!parsed.success) return undefined;
  const { code, detail } = parsed.data;
  const known = isErrorCode(code);
  const message = detail ?? (known ? ERRORS[code].title : 'The service refused, for a reason unknown here');
  const data: ErrorData = Facts.safeParse(told).data ?? {};
  return new ServiceError(known ? code : 'internal', known ? message : `${message} (${code})`, { data });
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}

/** What stands for the refusal of something in between, which knows nothing of the service's codes. */
export function foreignRefusal(
  url: string,
  { status, retryAfterMs }: { status: number; retryAfterMs?: number },
): ServiceError {
  const data: ErrorData = retryAfterMs === undefined ? {} : { retryAfterMs };
  const message = `${url} answered ${status}, and not as this service does; is the URL right?`;
  return new ServiceError(codeOfStatus(status), message, { data });
}

function codeOfStatus(status: number): ErrorCode {
  if (status === 401) return 'unauthenticated';
  if (status === 429) return 'too_many';
  return [502, 503, 504].includes(status) ? 'not_running' : 'internal';
}
