import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { Agent, EnvHttpProxyAgent } from 'undici';
import type { GatewayCredential } from './gateway-headers.ts';
import { upstreamHeaders } from './gateway-headers.ts';

/** Silence of the upstream, before the headers or between two pieces of an answer. */
const SILENCE_MS = 15 * 60_000;
const CONNECT_MS = 15_000;
const MAX_CONNECTIONS = 512;
/** A refusal's body is far shorter. */
const MAX_REFUSAL_BYTES = 64 * 1024;

/** How to reach the upstream when not directly: proxy URLs by scheme, and the hosts that need none. */
export interface UpstreamProxy {
  httpProxy?: string;
  httpsProxy?: string;
  /** Comma-separated hosts, as in `NO_PROXY`. */
  noProxy?: string;
}

export interface UpstreamRequest {
  /** Path and query, as the run gave them. */
  target: string;
  headers: Record<string, string[] | undefined>;
  body: Buffer;
  signal: AbortSignal;
}

export type UpstreamAnswer =
  | { kind: 'answer'; status: number; headers: Dispatcher.ResponseData['headers']; body: Readable }
  | { kind: 'no_credential'; message: string };

/** The model API. */
export class Upstream {
  readonly #base: URL;
  readonly #dispatcher: Dispatcher;

  /** @param options.url http or https, with or without a path in front of `/v1/messages` */
  constructor(options: { url: string; proxy?: UpstreamProxy | undefined }) {
    this.#base = new URL(options.url);
    const limits = {
      headersTimeout: SILENCE_MS,
      bodyTimeout: SILENCE_MS,
      keepAliveTimeout: 30_000,
      connections: MAX_CONNECTIONS,
      connect: { timeout: CONNECT_MS },
    };
    const { proxy } = options;
    this.#dispatcher =
      proxy === undefined
        ? new Agent(limits)
        : new EnvHttpProxyAgent({
            ...limits,
            httpProxy: proxy.httpProxy ?? '',
            httpsProxy: proxy.httpsProxy ?? '',
            noProxy: proxy.noProxy ?? '',
          });
  }

  /**
   * Sends a call, paid with a credential. A 401 is answered by one refresh of the credential and one more try, where it
   * can be refreshed.
   * @throws the network's error when the upstream cannot be reached
   */
  async send(request: UpstreamRequest, credential: GatewayCredential): Promise<UpstreamAnswer> {
    const secret = await currentSecret(credential);
    if (secret instanceof Error) {
      return { kind: 'no_credential', message: secret.message };
    }
    const { kind } = credential;
    const first = await this.#sendWith({ kind, secret }, request);
    if (first.kind !== 'answer' || first.status !== 401) {
      return first;
    }
    const newer = await newerSecret(credential, secret);
    if (newer === undefined) {
      return first;
    }
    await drain(first.body);
    return this.#sendWith({ kind, secret: newer }, request);
  }

  close(): Promise<void> {
    return this.#dispatcher.destroy();
  }

  async #sendWith(
    credential: { kind: GatewayCredential['kind']; secret: string },
    request: UpstreamRequest,
  ): Promise<UpstreamAnswer> {
    const prefix = this.#base.pathname.replace(/\/+$/, '');
    const { statusCode, headers, body } = await this.#dispatcher.request({
      origin: this.#base.origin,
      path: `${prefix}${request.target}`,
      method: 'POST',
      headers: upstreamHeaders(request.headers, credential),
      body: request.body,
      signal: request.signal,
    });
    return { kind: 'answer', status: statusCode, headers, body };
  }
}

/** A credential that cannot be had is an answer to the run, not a failure of the gateway. */
async function currentSecret(credential: GatewayCredential): Promise<string | Error> {
  try {
    return await credential.current();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** `undefined` when there is no other secret to try; then the upstream's own refusal stands. */
async function newerSecret(credential: GatewayCredential, rejected: string): Promise<string | undefined> {
  if (credential.refresh === undefined) {
    return undefined;
  }
  try {
    await credential.refresh(rejected);
  } catch (error) {
    if (error instanceof Error) {
      return undefined;
    }
    throw error;
  }
  const secret = await currentSecret(credential);
  return secret instanceof Error || secret === rejected ? undefined : secret;
}

/** Reads a short body to its end, so that its connection can be used again; a long one is broken off. */
async function drain(body: Readable): Promise<void> {
  let length = 0;
  for await (const chunk of body) {
    length += Buffer.from(chunk).length;
    if (length > MAX_REFUSAL_BYTES) {
      break;
    }
  }
}
