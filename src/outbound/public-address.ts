import { isIP } from 'node:net';
import { type AddressRanges, addressRanges } from './address-range.ts';

/** IPv4 that is not globally reachable (IANA special-purpose registry, RFC 6890), multicast, and what is reserved. */
const NOT_PUBLIC_4 = addressRanges([
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24'],
  ...['203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
]);
/** All global unicast there is (RFC 4291). Outside it are loopback, IPv4-mapped, NAT64, ULA, link-local, multicast. */
const GLOBAL_6 = addressRanges(['2000::/3']);
/** Inside it: protocol assignments with Teredo and ORCHID, documentation, 6to4. */
const NOT_PUBLIC_6 = addressRanges(['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']);

/**
 * Where clouds hand out credentials, as far as they are fixed: AWS, Google, Azure, Oracle, Alibaba. Azure's second one is
 * a public address.
 */
const METADATA = addressRanges([
  '169.254.169.254',
  '169.254.170.2',
  '168.63.129.16',
  '192.0.0.192',
  '100.100.100.200',
  'fd00:ec2::254',
]);

/** Whether an address is one of the public internet, which belongs to no network that this machine is inside of. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 0 || address.includes('%') || METADATA.has(address)) return false;
  return family === 4 ? !NOT_PUBLIC_4.has(address) : GLOBAL_6.has(address) && !NOT_PUBLIC_6.has(address);
}

/** Whether it may be connected to: a public one, or one of `allowed`; a cloud's metadata only where it is named itself. */
export function mayConnect(address: string, allowed: AddressRanges): boolean {
  if (isPublicAddress(address)) return true;
  if (isIP(address) === 0 || address.includes('%')) return false;
  return METADATA.has(address) ? allowed.names(address) : allowed.has(address);
}
