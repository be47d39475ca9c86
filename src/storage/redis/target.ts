import type { RedisOptions } from 'ioredis';
import { ServiceError } from '../../protocol/errors.ts';

/** Where Redis is. */
export interface RedisTarget {
  options: Pick<RedisOptions, 'host' | 'port' | 'path' | 'tls' | 'username' | 'password' | 'db'>;
  /** The address without its credentials, for messages. */
  shown: string;
  database: number;
}

const FORMS = 'redis://[user:password@]host[:port][/database], rediss://… for TLS, or unix:///path[?db=database]';

/**
 * Reads the address of a Redis server.
 * @throws ServiceError `storage_unavailable` for what is no such address, or one that asks for a password and has none
 */
export function parseRedisUrl(text: string): RedisTarget {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['redis:', 'rediss:', 'unix:'].includes(url.protocol)) {
    throw new ServiceError('storage_unavailable', `The address of Redis is not of the form ${FORMS}.`);
  }
  const unix = url.protocol === 'unix:';
  const database = databaseOf(unix ? url.searchParams.get('db') : url.pathname.slice(1));
  const path = decodeURIComponent(url.pathname);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1';
  const port = url.port === '' ? 6379 : Number(url.port);
  const shown = unix ? `unix://${path}` : `${url.protocol}//${host.includes(':') ? `[${host}]` : host}:${port}`;
  if (!unix && url.password === '' && !isLoopback(host)) {
    const message = `The address of Redis, ${shown}, has no password and is not on this machine: anyone who reaches that server could read and change every execution. Give the server a password (requirepass, or an ACL user), and the address too: redis://user:password@host.`;
    throw new ServiceError('storage_unavailable', message);
  }
  const place = unix
    ? { path }
    : { host, port, ...(url.protocol === 'rediss:' && { tls: { servername: serverName(host) } }) };
  const credentials = {
    ...(url.username !== '' && { username: decodeURIComponent(url.username) }),
    ...(url.password !== '' && { password: decodeURIComponent(url.password) }),
  };
  return { options: { ...place, ...credentials, db: database }, shown, database };
}

function databaseOf(text: string | null): number {
  if (text === null || text === '') return 0;
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw new ServiceError(
    'storage_unavailable',
    `The address of Redis is not of the form ${FORMS}: the database is a number.`,
  );
}

/** The name a certificate must bear; an IP address is no server name (RFC 6066 section 3). */
function serverName(host: string): string {
  return /^[\d.]+$|:/.test(host) ? '' : host;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
