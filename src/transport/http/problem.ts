import type { IncomingMessage } from 'node:http';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { ERRORS, type ErrorCode, type ErrorData, ServiceError } from '../../protocol/errors.ts';
import type { Problem } from '../../protocol/problem.ts';

/**
 * An error as a problem document (RFC 9457). A defect says nothing about itself: the log does, under the request id.
 */
export function problemOf(error: ServiceError, requestId: string): Problem {
  const { http, title } = ERRORS[error.code];
  const detail = error.code === 'internal' ? undefined : error.message;
  return {
    type: `urn:cc-executor:problem:${error.code}`,
    title,
    status: http,
    ...(detail === undefined ? {} : { detail }),
    code: error.code,
    requestId,
    ...error.data,
  };
}

/** Sends an error; `retryAfterMs` becomes Retry-After too, in whole seconds. */
export async function sendProblem(request: FastifyRequest, reply: FastifyReply, error: ServiceError): Promise<void> {
  const { http } = ERRORS[error.code];
  const { retryAfterMs } = error.data;
  // A path that cannot be decoded is refused before anything else has set it.
  reply.header('x-request-id', request.id);
  if (retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(retryAfterMs / 1000));
  if (error.code === 'unauthenticated') reply.header('www-authenticate', 'Bearer, Basic realm="cc-executor"');
  await discardRest(request.raw);
  if (!request.raw.complete) reply.header('connection', 'close');
  await reply
    .code(http)
    .type('application/problem+json')
    .send(JSON.stringify(problemOf(error, request.id)));
}

/** How long what is left of a refused body is read for, in ms. */
const DISCARD_MS = 2_000;

/**
 * Reads what is left of a body that was refused, for a while: a connection that is closed under a client which is still
 * sending takes the answer with it (RFC 9112, section 9.6).
 */
async function discardRest(raw: IncomingMessage): Promise<void> {
  if (raw.complete || raw.destroyed) return;
  const over = Promise.withResolvers<void>();
  const timer = setTimeout(over.resolve, DISCARD_MS);
  raw.once('end', over.resolve).once('close', over.resolve).resume();
  await over.promise;
  clearTimeout(timer);
}

/** The framework quotes what it refuses, however long. */
const MAX_FRAMEWORK_TEXT = 300;

const BY_FRAMEWORK_CODE: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_BODY_TOO_LARGE: 'payload_too_large',
};

/** What was thrown, as one of ours. The framework's refusals of a request are the client's fault; all else is a defect. */
export function toServiceError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  if (isFrameworkError(error)) {
    const code = BY_FRAMEWORK_CODE[error.code] ?? 'invalid_request';
    return new ServiceError(code, error.message.slice(0, MAX_FRAMEWORK_TEXT), { cause: error });
  }
  return new ServiceError('internal', 'The service failed', { cause: error });
}

function isFrameworkError(error: unknown): error is FastifyError {
  if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) return false;
  const status = 'statusCode' in error ? error.statusCode : undefined;
  return error.code.startsWith('FST_ERR_') && typeof status === 'number' && status >= 400 && status < 500;
}

/** The answer to what is no HTTP request at all, on the bare socket. */
export function rawProblem(code: ErrorCode, message: string, data: ErrorData = {}): string {
  const problem = JSON.stringify(problemOf(new ServiceError(code, message, { data }), 'none'));
  const { http, title } = ERRORS[code];
  const head = [`HTTP/1.1 ${http} ${title}`, 'content-type: application/problem+json', 'connection: close'];
  return `${head.join('\r\n')}\r\ncontent-length: ${Buffer.byteLength(problem)}\r\n\r\n${problem}`;
}
