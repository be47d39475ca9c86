import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Principal } from '../../auth/principal.ts';
import { ServiceError } from '../../protocol/errors.ts';
import { HEADERS, type HttpRoute } from '../../protocol/http-route.ts';
import type { HTTP_ROUTES, RouteName } from '../../protocol/http-routes.ts';
import { parseInput } from '../../protocol/parse-input.ts';
import type { JsonBodies } from './json-body.ts';

type Parsed<R extends HttpRoute, K extends 'params' | 'query'> = R[K] extends z.ZodObject ? z.output<R[K]> : undefined;

// Made once: making a schema costs many times what parsing with it does.
const NO_QUERY = z.strictObject({});
const PATH_AS_IT_CAME = z.record(z.string(), z.string());
const QUERY_AS_IT_CAME = z.record(z.string(), z.union([z.string(), z.array(z.string())]));

/** One request, parsed as its route says. */
export interface Call<N extends RouteName> {
  params: Parsed<(typeof HTTP_ROUTES)[N], 'params'>;
  query: Parsed<(typeof HTTP_ROUTES)[N], 'query'>;
  /** JSON as it came, for the core to parse; undefined where the route takes none. */
  body: unknown;
  idempotencyKey: string | undefined;
  lastEventId: number | undefined;
  /** Undefined only on routes that answer without a key. */
  principal: Principal | undefined;
  /** Aborts when the client is gone before it has its whole answer. */
  gone: AbortSignal;
  request: FastifyRequest;
  reply: FastifyReply;
}

/** The wire's view of a call, before the compiler is told what the table says of its route. */
export async function readCall(
  route: HttpRoute,
  { request, reply, principal }: { request: FastifyRequest; reply: FastifyReply; principal: Principal | undefined },
  bodies: JsonBodies,
): Promise<Omit<Call<RouteName>, 'params' | 'query'> & { params: unknown; query: unknown }> {
  return {
    params: route.params === undefined ? undefined : parsePath(route.params, request),
    query: parseInput(route.query ?? NO_QUERY, typedQuery(request.query, route.query)),
    body: route.body !== undefined && 'json' in route.body ? await bodies.read(request) : undefined,
    idempotencyKey: route.headers?.includes('idempotency-key') ? idempotencyKey(request) : undefined,
    lastEventId: route.headers?.includes('last-event-id') ? lastEventId(request) : undefined,
    principal,
    gone: goneSignal(reply),
    request,
    reply,
  };
}

/** The rest of a path that ends with `*` is its `path`. */
function parsePath(schema: z.ZodObject, request: FastifyRequest): unknown {
  const { '*': rest, ...named } = PATH_AS_IT_CAME.parse(request.params);
  return parseInput(schema, 'path' in schema.shape ? { ...named, path: rest ?? '' } : named);
}

/** A query string knows text alone: where the schema wants a number, digits are one. */
function typedQuery(query: unknown, schema: z.ZodObject | undefined): Record<string, unknown> {
  const given = QUERY_AS_IT_CAME.parse(query);
  // A record drops it without a word.
  if (Object.hasOwn(Object(query), '__proto__')) throw invalid('__proto__', 'is not a known field');
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      if (Array.isArray(value)) throw invalid(name, 'is given more than once');
      const numeric = schema !== undefined && Object.hasOwn(schema.shape, name) && wantsNumber(schema.shape[name]);
      return [name, numeric && /^-?\d{1,16}$/.test(value) ? Number(value) : value];
    }),
  );
}

function wantsNumber(schema: unknown): boolean {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodOptional) return wantsNumber(schema.unwrap());
  return schema instanceof z.ZodNumber;
}

function idempotencyKey({ headers }: FastifyRequest): string | undefined {
  const value = headers['idempotency-key'];
  if (value === undefined) return undefined;
  return parseHeader(HEADERS['idempotency-key'].schema, { name: 'idempotency-key', value });
}

function lastEventId({ headers }: FastifyRequest): number | undefined {
  const value = headers['last-event-id'];
  if (value === undefined) return undefined;
  const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value;
  return parseHeader(HEADERS['last-event-id'].schema, { name: 'last-event-id', value: number });
}

function parseHeader<T extends z.ZodType>(schema: T, { name, value }: { name: string; value: unknown }): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalid(name, `is not a valid ${name} header`);
}

function invalid(path: string, message: string): ServiceError {
  return new ServiceError('invalid_request', `${path} ${message}`, { data: { errors: [{ path, message }] } });
}

function goneSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController();
  raw.on('close', () => {
    if (!raw.writableFinished) gone.abort();
  });
  return gone.signal;
}
