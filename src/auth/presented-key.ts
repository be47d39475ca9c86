import type { IncomingHttpHeaders } from 'node:http';
import { ServiceError } from '../protocol/errors.ts';

/** How a WebSocket client that cannot set headers names its key or token among the subprotocols it offers. */
export const KEY_SUBPROTOCOL = 'cc-executor.key.';
const TOKEN_SUBPROTOCOL = 'bearer.';
/** The subprotocol that is spoken. */
export const SUBPROTOCOL = 'cc-executor.v1';

/** The key or token in `x-api-key` or in `Authorization: Bearer`; undefined when there is none. */
export function presentedKey(headers: IncomingHttpHeaders): string | undefined {
  const own = headers['x-api-key'];
  return typeof own === 'string' && own !== '' ? own : bearer(headers);
}

/**
 * What stands before the service must not read another key than the service does.
 * @param distinct every header with each of its values, as Node has them before it drops or joins some
 * @throws ServiceError `invalid_request` where two are presented
 */
export function refuseTwoKeys(headers: IncomingHttpHeaders, distinct: NodeJS.Dict<string[]>): void {
  const own = headers['x-api-key'];
  const inBearer = bearer(headers);
  const differ = typeof own === 'string' && own !== '' && inBearer !== undefined && own !== inBearer;
  const repeated = (distinct.authorization?.length ?? 0) > 1 || (distinct['x-api-key']?.length ?? 0) > 1;
  if (!differ && !repeated && offeredKeys(headers['sec-websocket-protocol']).length <= 1) return;
  throw new ServiceError('invalid_request', 'The request presents two keys; send one, in Authorization or x-api-key');
}

function bearer({ authorization }: IncomingHttpHeaders): string | undefined {
  return /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
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

/** The key or token among the subprotocols that a WebSocket client offers (RFC 6455 section 11.3.4). */
export function subprotocolKey(offered: string | undefined): string | undefined {
  return offeredKeys(offered)[0];
}

function offeredKeys(offered = ''): string[] {
  return offered.split(',').flatMap((text) => {
    const name = text.trim();
    const beginning = [KEY_SUBPROTOCOL, TOKEN_SUBPROTOCOL].find((start) => name.startsWith(start));
    return beginning === undefined ? [] : [name.slice(beginning.length)];
  });
}
