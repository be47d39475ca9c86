import type { z } from 'zod';
import { type JsonSchema, refTo, schemaOf } from './component-schemas.ts';
import { ERROR_TEXTS } from './contract-texts.ts';
import { ERRORS, type ErrorCode } from './errors.ts';
import { HealthDetail } from './health.ts';
import { ANY_ROUTE, type Body, HEADERS, type HttpRoute } from './http-route.ts';
import { HTTP_ROUTES, type RouteName } from './http-routes.ts';
import { MAX_BODY_BYTES } from './http-schemas.ts';
import { EVENT_STREAM_TEXT, PARAMETER_TEXTS, ROUTE_TEXTS, STATUS_TEXTS } from './route-texts.ts';
import { isScope } from './scopes.ts';

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required: boolean;
  description: string;
  schema: JsonSchema;
}

export type Content = Record<string, { schema: JsonSchema } & Record<`x-${string}`, unknown>>;

export interface Answer {
  description: string;
  headers: Record<string, { $ref: string }>;
  content?: Content;
}

export interface Operation {
  operationId: RouteName;
  tags: string[];
  summary: string;
  description?: string;
  security?: Record<string, string[]>[];
  parameters?: Parameter[];
  requestBody?: { required: true; description: string; content: Content };
  responses: Record<string, Answer>;
}

/** Unknown query parameters are refused on every route, and any route may meet a defect. */
const OPEN_ROUTE = ['invalid_request', 'internal'] as const satisfies readonly ErrorCode[];

/** A route of the table as an operation of OpenAPI. */
export function operation(name: RouteName): Operation {
  const route: HttpRoute = HTTP_ROUTES[name];
  const description = ROUTE_TEXTS[name];
  const parameters = parametersOf(route);
  return {
    operationId: name,
    tags: [tag(route.path)],
    summary: route.summary,
    ...(description === undefined ? {} : { description }),
    ...security(route),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined ? {} : { requestBody: requestBody(route.body) }),
    responses: { ...answers(route), ...refusals(route) },
  };
}

/** The codes that a route may refuse with. */
export function errorsOf(route: HttpRoute): ErrorCode[] {
  const { access, errors } = route;
  if (access === 'open') return [...new Set([...OPEN_ROUTE, ...errors])];
  return [...new Set([...ANY_ROUTE, ...(isScope(access) ? (['forbidden'] as const) : []), ...errors])];
}

/**
 * Nothing where it is as the document says of all. Behind a scheme stand the scopes that are needed: names of roles, for
 * schemes that are not OAuth (https://spec.openapis.org/oas/v3.1.1#security-requirement-object).
 */
function security(route: HttpRoute): { security?: Record<string, string[]>[] } {
  const { access } = route;
  if (isScope(access)) return { security: [{ bearerAuth: [access] }, { apiKey: [access] }] };
  if (access === 'any') return {};
  return { security: takesKey(route) ? [{}, { bearerAuth: [] }, { apiKey: [] }] : [] };
}

function tag(path: string): string {
  if (path.startsWith('/v1/exec')) return 'executions';
  if (path.startsWith('/v1/keys') || path.startsWith('/v1/auth')) return 'keys';
  return path.startsWith('/v1/workspaces') ? 'workspaces' : 'service';
}

/** Whether a key makes it say more. */
function takesKey({ responses }: HttpRoute): boolean {
  return Object.values(responses)
    .flat()
    .some((body) => 'json' in body && body.json === HealthDetail);
}

function parametersOf({ params, query, headers = [] }: HttpRoute): Parameter[] {
  const inHeaders = headers.map((name): Parameter => {
    const { schema, text } = HEADERS[name];
    return {
      name: titleCase(name),
      in: 'header',
      required: false,
      description: text,
      schema: schemaOf(schema, 'input'),
    };
  });
  return [...fields(params, 'path'), ...fields(query, 'query'), ...inHeaders];
}

function fields(schema: z.ZodObject | undefined, place: 'path' | 'query'): Parameter[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = schemaOf(schema, 'input');
  return Object.entries(properties).map(([name, type]) => ({
    name,
    in: place,
    required: required.includes(name),
    description: PARAMETER_TEXTS[name] ?? '',
    schema: typeof type === 'boolean' ? {} : type,
  }));
}

function titleCase(header: string): string {
  return header.replace(/(^|-)[a-z]/g, (start) => start.toUpperCase()).replace(/-Id$/, '-ID');
}

function requestBody(body: Body): NonNullable<Operation['requestBody']> {
  const description = 'json' in body ? `At most ${MAX_BODY_BYTES / 1024 / 1024} MiB.` : 'Sent uncompressed.';
  return { required: true, description, content: content([body], 'input') };
}

function answers({ responses, method }: HttpRoute): Record<string, Answer> {
  const found = Object.entries(responses).map(([status, bodies]): [string, Answer] => {
    const located = status === '202' || (status === '200' && method === 'POST' && '202' in responses);
    const headers = { ...headerRefs(['X-Request-Id']), ...(located ? headerRefs(['Location']) : {}) };
    const description = STATUS_TEXTS[Number(status)] ?? '';
    return [status, { description, headers, ...(bodies.length === 0 ? {} : { content: content(bodies, 'output') }) }];
  });
  return Object.fromEntries(found);
}

/** Several JSON bodies under one media type are alternatives. */
function content(bodies: readonly Body[], io: 'input' | 'output'): Content {
  const json = bodies.flatMap((body) => ('json' in body ? [schemaOf(body.json, io)] : []));
  const [only] = json;
  const found: Content = {};
  if (only !== undefined) found['application/json'] = { schema: json.length === 1 ? only : { anyOf: json } };
  for (const body of bodies) if ('media' in body) found[body.media] = mediaType(body.media);
  return found;
}

function mediaType(media: string): Content[string] {
  switch (media) {
    case 'text/event-stream':
      return { schema: { type: 'string', description: EVENT_STREAM_TEXT }, 'x-event-schema': refTo('ExecutionEvent') };
    case 'application/json':
      return { schema: { type: 'object' } };
    case 'text/plain':
    case 'text/html':
      return { schema: { type: 'string' } };
    default:
      return { schema: { type: 'string', format: 'binary' } };
  }
}

/** The errors of one status stand together: OpenAPI knows an answer by its status alone. */
function refusals(route: HttpRoute): Record<string, Answer> {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of errorsOf(route)) {
    const { http } = ERRORS[code];
    byStatus.set(http, [...(byStatus.get(http) ?? []), code]);
  }
  const found = [...byStatus].map(([status, codes]): [string, Answer] => {
    const waits = status === 429 || status === 503;
    return [
      String(status),
      {
        description: codes.map((code) => `\`${code}\`: ${ERRORS[code].title}; ${ERROR_TEXTS[code]}.`).join('\n\n'),
        headers: headerRefs(waits ? ['X-Request-Id', 'Retry-After'] : ['X-Request-Id']),
        content: { 'application/problem+json': { schema: refTo('Problem') } },
      },
    ];
  });
  return Object.fromEntries(found);
}

function headerRefs(names: readonly string[]): Record<string, { $ref: string }> {
  return Object.fromEntries(
    names.map((name) => [name, { $ref: `#/components/headers/${name.replace('X-', '').replaceAll('-', '')}` }]),
  );
}
