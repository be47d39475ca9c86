import { isIPv4, isIPv6 } from 'node:net';

/** A host as it is compared: a name in lower case without its last dot, or an address in its one canonical spelling. */
export type Host = { kind: 'name'; name: string } | { kind: 'address'; address: string; family: 4 | 6 };

export interface Authority {
  host: Host;
  port: number | undefined;
}

const LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;
/** The WHATWG URL standard and libc take a name that ends like this for an IPv4 address in octal, hex or decimal. */
const NUMBER = /^(\d+|0x[0-9a-f]*)$/;
const MAX_NAME = 253;

/**
 * Reads a host strictly: a DNS name in ASCII, four decimal numbers, or IPv6 in brackets. Every other spelling of an
 * address (`0x7f.1`, `2130706433`, `0177.0.0.1`, `127.1`, `fe80::1%eth0`, digits that are not ASCII) is none, so that no
 * two readers see two hosts in it.
 */
export function parseHost(text: string): Host | undefined {
  if (text.startsWith('[')) {
    const inner = text.endsWith(']') ? text.slice(1, -1) : '';
    return isIPv6(inner) && !inner.includes('%') ? addressHost(inner) : undefined;
  }
  if (isIPv4(text)) return addressHost(text);
  const name = text.toLowerCase().replace(/\.$/, '');
  const labels = name.split('.');
  if (name.length > MAX_NAME || !labels.every((label) => LABEL.test(label))) return undefined;
  return NUMBER.test(labels.at(-1) ?? '') ? undefined : { kind: 'name', name };
}

/** `host` or `host:port`, the host as `parseHost` takes it, the port from 1 to 65535. */
export function parseAuthority(text: string): Authority | undefined {
  const [, hostText = '', portText] = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = parseHost(hostText);
  const port = portText === undefined ? undefined : Number(portText);
  if (host === undefined || (port !== undefined && (port < 1 || port > 65_535))) return undefined;
  return { host, port };
}

/** The host of an address that `isIP` knows. */
export function addressHost(address: string): Host & { kind: 'address' } {
  if (isIPv4(address)) return { kind: 'address', address, family: 4 };
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  return { kind: 'address', address: canonical, family: 6 };
}

/** As it stands in texts and in URLs. */
export function showHost(host: Host): string {
  if (host.kind === 'name') return host.name;
  return host.family === 6 ? `[${host.address}]` : host.address;
}
