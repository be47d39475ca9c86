import { ServiceError } from '../protocol/errors.ts';

/** How long the client is patient, in ms. */
export interface Patience {
  /** For the answer to one request. */
  requestMs: number;
  /** For any sign of life on a stream; the service gives one every 15 s. */
  silentMs: number;
  /** For the first success of reconnecting. */
  giveUpAfterMs: number;
}

export const PATIENCE: Patience = { requestMs: 30_000, silentMs: 45_000, giveUpAfterMs: 120_000 };

/** Where a service is, and what opens it. */
export interface ServerAddress {
  /** Ends with a slash; paths of the interface are below it. */
  base: URL;
  /** As it is named to people. */
  name: string;
  key: string | undefined;
  patience: Patience;
}

/**
 * @param options.url http or https, also with a path when the service lies behind one
 * @throws ServiceError `invalid_request` for what is no such URL, or no key
 */
export function serverAddress(options: { url: string; key: string | undefined; patience: Patience }): ServerAddress {
  const { url, key, patience } = options;
  const base = URL.canParse(url) ? new URL(url) : undefined;
  if (base === undefined || !/^https?:$/.test(base.protocol)) {
    throw new ServiceError('invalid_request', `${url} is no URL of a service; write it as http://host:8000`);
  }
  if (base.username !== '' || base.password !== '') {
    throw new ServiceError('invalid_request', 'The URL of the service holds a password; give the key by itself');
  }
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key)) {
    throw new ServiceError('invalid_request', 'The key holds characters that no key has; was it copied whole?');
  }
  base.search = '';
  base.hash = '';
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  return { base, name: base.href.replace(/\/$/, ''), key, patience };
}

/** What is said of a service that does not answer. */
export function notRunning({ name }: Pick<ServerAddress, 'name'>, why: string, cause?: unknown): ServiceError {
  const repair = 'Is the service running there? Start it with cc-executor serve, or correct the URL';
  return new ServiceError('not_running', `${name} does not answer: ${why}. ${repair}`, { cause });
}
