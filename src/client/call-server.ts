import type { z } from 'zod';
import { ServiceError } from '../protocol/errors.ts';
import { parsedJson } from '../protocol/json.ts';
import { foreignRefusal, refusalOf } from './refusal.ts';
import { notRunning, type ServerAddress } from './server-address.ts';

const MAX_BODY_BYTES = 64 * 1024 * 1024;
const MAX_REFUSAL_BYTES = 1024 * 1024;

export interface Call {
  method: 'GET' | 'POST' | 'DELETE';
  /** Below the base URL, without a slash at its start. */
  path: string;
  query?: Readonly<Record<string, string | number | undefined>>;
  body?: unknown;
  headers?: Readonly<Record<string, string>>;
}

/**
 * Makes one call and reads its answer.
 * @throws ServiceError what the service refuses; `not_running` when it does not answer in time or at all; `internal`
 * when the answer is not one of this service
 */
export async function callServer<T extends z.ZodType>(
  server: ServerAddress,
  call: Call,
  answer: T,
): Promise<z.output<T>> {
  const signal = AbortSignal.timeout(server.patience.requestMs);
  const text = await readText(server, await send(server, call, signal), MAX_BODY_BYTES);
  const parsed = answer.safeParse(text === '' ? undefined : parsedJson(text));
  if (parsed.success) return parsed.data;
  const why = `${server.name} answered ${call.method} /${call.path} in a form unknown here; is it another version?`;
  throw new ServiceError('internal', why, { cause: parsed.error });
}

/**
 * Sends one request; resolves with the head of an answer that is no refusal.
 * @throws ServiceError as `callServer`; where `signal` aborts with one, that one
 */
export async function send(server: ServerAddress, call: Call, signal: AbortSignal): Promise<Response> {
  const url = new URL(call.path, server.base);
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  const headers = {
    ...(server.key === undefined ? {} : { authorization: `Bearer ${server.key}` }),
    ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
    ...call.headers,
  };
  let response: Response;
  try {
    response = await fetch(url, {
      method: call.method,
      headers,
      signal,
      redirect: 'error',
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
    });
  } catch (error) {
    throw unanswered(server, error);
  }
  if (response.ok) return response;
  throw await refusal(server, response);
}

/** What fetch and its bodies throw, as one of ours. */
export function unanswered(server: ServerAddress, error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return notRunning(server, `no answer within ${server.patience.requestMs / 1000} s`, error);
  }
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return notRunning(server, cause instanceof Error ? cause.message || String(codeOf(cause)) : String(cause), error);
}

/** Whether nothing was sent, because there was nobody to send it to. */
export function wasRefused({ cause }: ServiceError): boolean {
  const inner = cause instanceof Error ? cause.cause : undefined;
  return inner instanceof Error && ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH'].includes(codeOf(inner));
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}

async function refusal(server: ServerAddress, response: Response): Promise<ServiceError> {
  const told = refusalOf(parsedJson(await readText(server, response, MAX_REFUSAL_BYTES)));
  const retryAfterMs = retryAfter(response.headers.get('retry-after'));
  if (told === undefined) {
    return foreignRefusal(server.name, {
      status: response.status,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }
  if (retryAfterMs === undefined || told.data.retryAfterMs !== undefined) return told;
  return new ServiceError(told.code, told.message, { data: { ...told.data, retryAfterMs } });
}

/** Retry-After in ms: seconds, or a date (RFC 9110 section 10.2.3). */
function retryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

async function readText(server: ServerAddress, { body }: Response, limit: number): Promise<string> {
  if (body === null) return '';
  const decoder = new TextDecoder();
  let [text, bytes] = ['', 0];
  try {
    const reader = body.getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      bytes += read.value.length;
      if (bytes > limit) {
        await reader.cancel();
        throw new ServiceError('internal', `${server.name} answered with more than ${limit} bytes`);
      }
      text += decoder.decode(read.value, { stream: true });
    }
  } catch (error) {
    throw unanswered(server, error);
  }
  return text + decoder.decode();
}
