import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import cors from '@fastify/cors';
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify';
import { refuseKeyInUrl } from '../../auth/key-in-url.ts';
import { basicPassword, presentedKey, refuseTwoKeys } from '../../auth/presented-key.ts';
import { type Principal, requireAccess } from '../../auth/principal.ts';
import { ServiceError } from '../../protocol/errors.ts';
import type { HttpRoute } from '../../protocol/http-route.ts';
import { HTTP_ROUTES, type RouteName } from '../../protocol/http-routes.ts';
import { newId } from '../../protocol/ids.ts';
import type { Access } from '../../protocol/scopes.ts';
import { type Door, originAllowed, refuseForeignHost } from '../door.ts';
import { auditRoutes } from './audit-routes.ts';
import { type Call, readCall } from './call.ts';
import { documentRoutes } from './document-routes.ts';
import { eventRoutes } from './event-routes.ts';
import { executionRoutes } from './execution-routes.ts';
import { healthRoutes } from './health-routes.ts';
import { JsonBodies } from './json-body.ts';
import { keyRoutes } from './key-routes.ts';
import { rawProblem, sendProblem, toServiceError } from './problem.ts';
import type { Routes } from './routes.ts';
import { workspaceRoutes } from './workspace-routes.ts';

export interface HttpDoorOptions {
  /** Which proxies in front are believed about the client's address, host and protocol; none when false. */
  trustProxy: boolean | string[];
  maxConnections: number;
  /** Those that are answered; there are no others. */
  routes: readonly RouteName[];
}

/** Headers that never come whole, and requests whose body never ends, are given up after so long, in ms. */
const TIMES = { headersTimeout: 15_000, requestTimeout: 900_000, connectionsCheckingInterval: 1_000 };
const MAX_HEADER_BYTES = 32 * 1024;
/** Routes a browser opens by itself, and which change nothing. */
const READABLE_WITH_PASSWORD: ReadonlySet<RouteName> = new Set(['docs', 'openapi', 'openrpc']);

/** The HTTP door: every route of the table, with its errors as problem documents. Not listening yet. */
export async function createHttpDoor(door: Door, options: HttpDoorOptions): Promise<FastifyInstance> {
  const logger: FastifyBaseLogger = door.logger;
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    // One for each request would cost more than finding its route; what is logged here names the request by itself.
    childLoggerFactory: (parent) => parent,
    trustProxy: options.trustProxy,
    genReqId: () => newId(),
    routerOptions: { maxParamLength: 8192 },
    keepAliveTimeout: 72_000,
    http: {
      ...TIMES,
      maxHeaderSize: MAX_HEADER_BYTES,
      requireHostHeader: false,
      shouldUpgradeCallback: opensWebSocket,
    },
    clientErrorHandler,
    frameworkErrors: (error, request, reply) => {
      reply.raw.once('finish', () => endRefusedUpgrade(request));
      return sendProblem(request, reply, toServiceError(error));
    },
  });
  app.server.maxConnections = options.maxConnections;
  // An expectation that is not known is ignored (RFC 9110, section 10.1.1), which spares an answer outside the contract.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  app.removeAllContentTypeParsers();
  // Bodies are read by the routes that take one.
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  await app.register(cors, {
    origin: (origin, done) => done(null, origin !== undefined && allowed(door, origin, undefined)),
    strictPreflight: false,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'],
    allowedHeaders: ['authorization', 'x-api-key', 'content-type', 'idempotency-key', 'last-event-id'],
    exposedHeaders: ['location', 'retry-after', 'x-request-id'],
    maxAge: 600,
  });
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    reply.header('x-content-type-options', 'nosniff');
    // The framework would judge the media type before the key is checked, and on routes that read no body.
    request.raw.headers['content-type'] = 'application/octet-stream';
    refuseHosts(request);
    if (door.open) refuseForeignHost(request.host);
    refuseKeyInUrl(request.url);
    refuseTwoKeys(request.headers, request.raw.headersDistinct);
  });
  app.addHook('onResponse', async (request, reply) => {
    const { method, routeOptions, id } = request;
    const ms = Math.round(reply.elapsedTime);
    endRefusedUpgrade(request);
    door.logger.info({ requestId: id, method, route: routeOptions.url, status: reply.statusCode, ms }, 'request');
  });
  app.setErrorHandler(async (thrown, request, reply) => {
    const error = toServiceError(thrown);
    if (error.code === 'internal') door.logger.error({ err: error.cause, requestId: request.id }, 'a request failed');
    await sendProblem(request, reply, error);
  });
  app.setNotFoundHandler(async (request, reply) => {
    await authenticate(door, { request, mayUsePassword: false, access: 'any' });
    refuseMethod(options.routes, request, reply);
    throw new ServiceError('not_found', `There is no ${request.method} ${request.url.slice(0, 200)} here; see /docs`);
  });
  addRoutes(app, door, options.routes);
  return app;
}

function addRoutes(app: FastifyInstance, door: Door, names: readonly RouteName[]): void {
  const routes: Routes = {
    ...executionRoutes(door),
    ...eventRoutes(door),
    ...workspaceRoutes(door),
    ...auditRoutes(door),
    ...keyRoutes(door),
    ...healthRoutes(door),
    ...documentRoutes(door),
  };
  const bodies = new JsonBodies();
  for (const name of names) {
    const route: HttpRoute = HTTP_ROUTES[name];
    const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
      const mayUsePassword = READABLE_WITH_PASSWORD.has(name);
      const principal = await authenticate(door, { request, mayUsePassword, access: route.access });
      const call = await readCall(route, { request, reply, principal }, bodies);
      // The call was parsed with the schemas of this very route, which the compiler cannot follow through the loop.
      const answered = await (routes[name] as (call: unknown) => Promise<unknown>)(
        call satisfies object as Call<RouteName>,
      );
      return answered === undefined && !reply.sent ? reply.send() : answered;
    };
    for (const url of frameworkPaths(route.path)) app.route({ method: route.method, url, handler: answer });
  }
}

/** `{name}` is `:name`; `{path}`, the rest, is `*`, which may be empty. */
function frameworkPaths(path: string): string[] {
  const url = path.replace('/{path}', '/*').replace(/\{(\w+)\}/g, ':$1');
  return url.endsWith('/*') ? [url, url.slice(0, -2)] : [url];
}

/** @throws ServiceError `origin_refused`, `unauthenticated`, `forbidden` */
async function authenticate(
  door: Door,
  { request, mayUsePassword, access }: { request: FastifyRequest; mayUsePassword: boolean; access: Access },
): Promise<Principal | undefined> {
  const { headers, host } = request;
  const open = access === 'open';
  if (!open && !allowed(door, headers.origin, host)) {
    throw new ServiceError('origin_refused', `Pages of ${headers.origin} may not call; see CC_ALLOWED_ORIGINS`);
  }
  const given = presentedKey(headers) ?? (mayUsePassword ? basicPassword(headers) : undefined);
  if (given !== undefined && !open) door.wrongKeys.assertMayTry(request.ip);
  const presented = door.wrongKeys.mayTry(request.ip) ? given : undefined;
  const principal = await door.callers.verify(presented).catch((error: unknown) => {
    // An open route tells how the service is, also when its storage is what is broken.
    if (open && error instanceof ServiceError && error.code === 'storage_unavailable') return undefined;
    throw error;
  });
  if (principal === undefined && presented !== undefined) await door.wrongKeys.count(request.ip);
  if (principal !== undefined) requireAccess(principal, access);
  if (principal !== undefined || open) return principal;
  const what = presented === undefined ? 'No key was presented' : 'The key that was presented opens nothing here';
  throw new ServiceError('unauthenticated', `${what}; send Authorization: Bearer KEY, or x-api-key: KEY`);
}

function allowed(door: Door, origin: string | undefined, host: string | undefined): boolean {
  return originAllowed({ origin, host }, door.allowedOrigins);
}

/** @throws ServiceError `method_not_allowed`, when the path has other methods */
function refuseMethod(names: readonly RouteName[], request: FastifyRequest, reply: FastifyReply): void {
  const path = request.url.split('?', 1)[0] ?? '';
  const methods = names
    .map((name) => HTTP_ROUTES[name])
    .filter((route) => pattern(route.path).test(path))
    .map(({ method }) => method);
  if (methods.length === 0) return;
  reply.header('allow', [...new Set(methods)].join(', '));
  throw new ServiceError('method_not_allowed', `${path.slice(0, 200)} takes ${methods.join(', ')} only`);
}

function pattern(path: string): RegExp {
  const parts = path.split('/').map((part) => (/^\{\w+\}$/.test(part) ? '[^/]+' : part.replaceAll('.', '\\.')));
  return new RegExp(`^${parts.join('/').replace(/\/files\/\[\^\/\]\+$/, '/files(/.*)?')}$`);
}

/** An offer of another protocol, such as h2c, is ignored: its request is answered like any other (RFC 9110, section 7.8). */
function opensWebSocket({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket';
}

/**
 * Node has given the socket of an upgrade away: once it is answered like any other request it is nobody's, and would stay
 * open for as long as its client likes.
 */
function endRefusedUpgrade({ raw }: FastifyRequest): void {
  if (opensWebSocket(raw)) raw.socket.destroySoon();
}

/** @throws ServiceError `invalid_request`, where not exactly one Host is named (RFC 9112, section 3.2) */
function refuseHosts({ raw }: FastifyRequest): void {
  const hosts = raw.headersDistinct.host?.length ?? 0;
  if (hosts > 1 || (hosts === 0 && raw.httpVersion !== '1.0')) {
    throw new ServiceError('invalid_request', `The request names ${hosts} hosts; send one Host header`);
  }
}

/** What is no HTTP, or came too slowly or too long to be a request. */
function clientErrorHandler(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const text = late
    ? rawProblem('request_timeout', 'The request did not arrive in time')
    : rawProblem('invalid_request', 'This is not an HTTP request, or its headers are too long');
  socket.end(text, () => socket.destroy());
}
