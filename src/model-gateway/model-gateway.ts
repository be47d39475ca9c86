import { createHash, randomBytes } from 'node:crypto';
import { chmod, lstat, rm } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { Logger } from 'pino';
import { forwardCall } from './forward-call.ts';
import { presentedToken } from './gateway-headers.ts';
import type { ModelPath } from './model-call.ts';
import { MODEL_PATHS } from './model-call.ts';
import { refuse } from './refusal.ts';
import { RequestBodies } from './request-body.ts';
import type { GatewayRun } from './run-account.ts';
import { RunAccount } from './run-account.ts';
import type { SpendPort } from './spend-port.ts';
import type { UpstreamProxy } from './upstream.ts';
import { Upstream } from './upstream.ts';

/** Longer than a client keeps an idle connection, so that the gateway is not the one to close it under a request. */
const KEEP_ALIVE_MS = 75_000;
/** A unix socket's path, in bytes; longer ones are cut by the kernel. */
const MAX_SOCKET_PATH = 107;
/** The host the CLI is given beside `ANTHROPIC_UNIX_SOCKET`; nothing ever resolves it. */
const SOCKET_BASE_URL = 'http://gateway.invalid';

export interface ModelGatewayOptions {
  /** The model API, such as `https://api.anthropic.com`. */
  upstream: string;
  /** Asked before every call; without it nobody's spend is limited. */
  spend?: SpendPort;
  proxy?: UpstreamProxy;
  logger?: Pick<Logger, 'debug' | 'error' | 'warn'>;
  listen: GatewayAddress;
}

export type GatewayAddress = { host: string; port: number } | { path: string };

/** The loopback endpoint a run's Claude talks to instead of the model API. */
export interface ModelGateway {
  /** `ANTHROPIC_BASE_URL` for runs; with a socket, `ANTHROPIC_UNIX_SOCKET` is its path. */
  readonly baseUrl: string;
  /** A new run token: `ccr_` and 192 random bits. It opens nothing until a run is attached to it. */
  issueToken(): string;
  /** Binds a token to a run. A token serves one process, which may serve one run after another. */
  attach(token: string, run: GatewayRun): void;
  /** Ends the token's run: its calls under way are broken off, later ones are 401. */
  detach(token: string): void;
  /** US dollars spent by the token's run, calls under way included; 0 when it has none. */
  spentUsd(token: string): number;
  /** One more unix socket (mode 0600) with the same runs behind it, such as one in a box. Returns how to close it. */
  openSocket(path: string): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/** Starts the model gateway of a service. */
export async function startModelGateway(options: ModelGatewayOptions): Promise<ModelGateway> {
  const upstream = new Upstream({ url: options.upstream, proxy: options.proxy });
  const runs = new RunTokens();
  const deps = { upstream, bodies: new RequestBodies(), spend: options.spend };
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const route = routeOf(request, runs);
    if ('refusal' in route) {
      request.resume();
      refuse(response, route.refusal);
      return;
    }
    forwardCall(deps, { request, response }, route).catch((error: unknown) => {
      options.logger?.error({ err: error }, 'a model call failed inside the gateway');
      response.destroy();
    });
  };
  const servers = new Set<Server>();
  const open = async (address: GatewayAddress): Promise<Server> => {
    const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, onRequest);
    await listen(server, address);
    servers.add(server);
    return server;
  };
  const main = await open(options.listen);

  return {
    baseUrl: baseUrlOf(main, options.listen),
    issueToken: () => `ccr_${randomBytes(24).toString('base64url')}`,
    attach: (token, run) => runs.attach(token, run),
    detach: (token) => runs.detach(token),
    spentUsd: (token) => runs.find(token)?.spentUsd ?? 0,
    openSocket: async (path) => {
      const server = await open({ path });
      return async () => {
        servers.delete(server);
        await stop(server);
      };
    },
    close: async () => {
      await Promise.all([...servers].map(stop));
      await upstream.close();
    },
  };
}

/** Runs by the SHA-256 of their token, so that looking one up takes the same time whatever is presented. */
class RunTokens {
  readonly #accounts = new Map<string, RunAccount>();

  attach(token: string, run: GatewayRun): void {
    const key = hash(token);
    if (this.#accounts.has(key)) {
      throw new Error(`The token of execution ${run.executionId} still serves another one; detach it first.`);
    }
    this.#accounts.set(key, new RunAccount(run));
  }

  detach(token: string): void {
    const key = hash(token);
    const account = this.#accounts.get(key);
    this.#accounts.delete(key);
    account?.abort();
  }

  find(token: string): RunAccount | undefined {
    return this.#accounts.get(hash(token));
  }
}

function hash(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}

type Route = { account: RunAccount; path: ModelPath } | { refusal: 'not_found' | 'unknown_token' | 'too_many' };

/** The path is compared as it came, so that no other spelling of it (`//`, `/../`, `%2f`) is ever let through. */
function routeOf(request: IncomingMessage, runs: RunTokens): Route {
  const [pathname] = (request.url ?? '').split('?');
  const path = MODEL_PATHS.find((known) => known === pathname);
  if (request.method !== 'POST' || path === undefined) {
    return { refusal: 'not_found' };
  }
  const token = presentedToken(request.headersDistinct);
  const account = token === undefined ? undefined : runs.find(token);
  if (account === undefined) {
    return { refusal: 'unknown_token' };
  }
  return account.full ? { refusal: 'too_many' } : { account, path };
}

async function listen(server: Server, address: GatewayAddress): Promise<void> {
  if ('path' in address) {
    if (Buffer.byteLength(address.path) > MAX_SOCKET_PATH) {
      throw new Error(`${address.path} is longer than ${MAX_SOCKET_PATH} bytes; a unix socket cannot have that name`);
    }
    // A service that was killed leaves its socket behind; anything else at the path is not ours to remove.
    const stale = await lstat(address.path).catch(ignoreMissing);
    if (stale?.isSocket()) {
      await rm(address.path, { force: true });
    }
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, () => resolve());
  });
  if ('path' in address) {
    await chmod(address.path, 0o600);
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') {
    throw error;
  }
}

function baseUrlOf(server: Server, address: GatewayAddress): string {
  const bound = server.address();
  if ('path' in address || bound === null || typeof bound === 'string') {
    return SOCKET_BASE_URL;
  }
  const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
  return `http://${host}:${bound.port}`;
}

async function stop(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
