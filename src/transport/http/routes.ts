import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../../auth/principal.ts';
import type { Caller } from '../../executions/new-execution.ts';
import { ServiceError } from '../../protocol/errors.ts';
import type { RouteName } from '../../protocol/http-routes.ts';
import { toCaller } from '../to-caller.ts';
import type { Call } from './call.ts';

/** What answers each route of the table: a value to be sent as JSON, a stream or text, or nothing more to send. */
export type Routes = { [N in RouteName]: (call: Call<N>) => Promise<unknown> };

export function principalOf({ principal }: { principal: Principal | undefined }): Principal {
  if (principal === undefined) throw new Error('this route is open, and asks for a caller');
  return principal;
}

export function callerOf(call: { principal: Principal | undefined; request: FastifyRequest }): Caller {
  return toCaller(principalOf(call), { address: call.request.ip, requestId: call.request.id });
}

export function wantsEventStream(request: FastifyRequest): boolean {
  return wants(request, 'text/event-stream');
}

/** Whether a media type stands in Accept by its own name. */
export function wants({ headers }: FastifyRequest, media: string): boolean {
  return (headers.accept ?? '').split(',').some((range) => {
    const [type = '', ...parameters] = range.split(';');
    const refused = parameters.some((parameter) => /^ *q=0(\.0*)? *$/i.test(parameter));
    return type.trim().toLowerCase() === media && !refused;
  });
}

/** Takes the answer out of the framework's hands, with the headers it has so far. */
export function openEventStream(reply: FastifyReply): ServerResponse {
  reply.header('content-type', 'text/event-stream; charset=utf-8');
  reply.header('cache-control', 'no-store');
  // Proxies such as nginx would hold events back until their buffer is full.
  reply.header('x-accel-buffering', 'no');
  reply.hijack();
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) reply.raw.setHeader(name, value);
  }
  reply.raw.writeHead(200);
  reply.raw.flushHeaders();
  return reply.raw;
}

/** Aborts when the whole answer is sent, or its client gone. */
export function answered({ raw }: FastifyReply): AbortSignal {
  const over = new AbortController();
  raw.once('close', () => over.abort());
  return over.signal;
}

export function invalid(path: string, message: string): ServiceError {
  return new ServiceError('invalid_request', `${path} ${message}`, { data: { errors: [{ path, message }] } });
}
