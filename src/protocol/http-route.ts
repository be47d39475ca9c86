import { z } from 'zod';
import type { ErrorCode } from './errors.ts';
import { Cursor } from './http-schemas.ts';
import type { Access } from './scopes.ts';

/** What a body is: a schema of JSON, or bytes of a media type. */
export type Body = { json: z.ZodType } | { media: string };

export interface HttpRoute {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** As in OpenAPI; `{path}` as the last part takes slashes too. */
  path: string;
  summary: string;
  /** Path parameters. */
  params?: z.ZodObject;
  query?: z.ZodObject;
  headers?: readonly HeaderName[];
  body?: Body;
  /** What is answered, by status; `undefined` for no body. The same status may have several kinds of body. */
  responses: Readonly<Record<number, readonly Body[]>>;
  /** Beside those that any route may give, `ANY_ROUTE`. */
  errors: readonly ErrorCode[];
  /** What it asks of its caller. */
  access: Access;
}

export const HEADERS = {
  'idempotency-key': {
    schema: z.string().min(1).max(255),
    text: 'The same key with the same request returns the execution of the first time.',
  },
  'last-event-id': {
    schema: Cursor,
    text: 'For an event stream: the id of the last event received. Wins over `after`.',
  },
} as const;
export type HeaderName = keyof typeof HEADERS;

/** What any route with a key may answer. */
export const ANY_ROUTE = [
  'invalid_request',
  'unauthenticated',
  'origin_refused',
  'request_timeout',
  'too_many',
  'internal',
  'storage_unavailable',
] as const satisfies readonly ErrorCode[];
