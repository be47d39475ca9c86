import type { IncomingMessage } from 'node:http';
import { type Authority, type Host, parseAuthority, showHost } from '../protocol/host-name.ts';
import { malformed, type ProxyRefusal } from './proxy-refusal.ts';

export interface Target {
  host: Host;
  port: number;
  /** As texts show it: `host:port`. */
  shown: string;
}

/** The target of `CONNECT host:port` (RFC 9110, section 9.3.6). */
export function connectTarget(request: IncomingMessage): Target | ProxyRefusal {
  const authority = parseAuthority(request.url ?? '');
  if (authority?.port === undefined) return malformed('CONNECT names no host and port');
  if (hasBody(request)) return malformed('CONNECT has no body');
  return hostAgrees(request, authority) ? target(authority.host, authority.port) : disagreement();
}

/** The target of a request in absolute form, and what is asked of it, as it came (RFC 9112, section 3.2.2). */
export function absoluteTarget(request: IncomingMessage): (Target & { path: string }) | ProxyRefusal {
  const [, scheme, authorityText = '', rest = ''] =
    /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\\]*)([/?][^#\\]*)?$/i.exec(request.url ?? '') ?? [];
  if (scheme?.toLowerCase() !== 'http') return malformed('The request names no http URL');
  const authority = parseAuthority(authorityText);
  if (authority === undefined) return malformed('The URL names no host');
  if (!hostAgrees(request, authority)) return disagreement();
  return { ...target(authority.host, authority.port ?? 80), path: rest.startsWith('/') ? rest : `/${rest}` };
}

function target(host: Host, port: number): Target {
  return { host, port, shown: `${showHost(host)}:${port}` };
}

/** Whoever reads the Host header and whoever reads the request line must see one host; a client may leave the port out. */
function hostAgrees({ rawHeaders }: IncomingMessage, { host, port }: Authority): boolean {
  const given = rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === 'host');
  if (given.length === 0) return true;
  const named = given.length === 1 ? parseAuthority(given[0] ?? '') : undefined;
  if (named === undefined || showHost(named.host) !== showHost(host)) return false;
  return named.port === undefined || named.port === (port ?? 80);
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}

function disagreement(): ProxyRefusal {
  return malformed('The Host header names another host than the request line');
}
