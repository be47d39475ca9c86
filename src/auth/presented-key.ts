import type { IncomingHttpHeaders } from 'node:http';

/** How a WebSocket client that cannot set headers names its key among the subprotocols it offers. */
export const KEY_SUBPROTOCOL = 'cc-executor.key.';
/** The subprotocol that is spoken. */
export const SUBPROTOCOL = 'cc-executor.v1';

/** The key in `x-api-key` or in `Authorization: Bearer`; undefined when there is none. */
export function presentedKey(headers: IncomingHttpHeaders): string | undefined {
  const own = headers['x-api-key'];
  if (typeof own === 'string' && own !== '') return own;
  return /^bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
}

/**
 * The password of `Authorization: Basic`, which browsers ask people for. They send it along by themselves afterwards,
 * also for pages of others: only what changes nothing may take it.
 */
export function basicPassword({ authorization }: IncomingHttpHeaders): string | undefined {
  const encoded = /^basic +(\S+) *$/i.exec(authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const decoded = Buffer.from(encoded, 'base64').toString('utf8');
  return decoded.slice(decoded.indexOf(':') + 1);
}

/** The key among the subprotocols that a WebSocket client offers (RFC 6455 section 11.3.4). */
export function subprotocolKey(offered: string | undefined): string | undefined {
  const names = (offered ?? '').split(',').map((name) => name.trim());
  return names.find((name) => name.startsWith(KEY_SUBPROTOCOL))?.slice(KEY_SUBPROTOCOL.length);
}
