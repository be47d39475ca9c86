import { lookup } from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Host } from '../protocol/host-name.ts';
import type { AddressRanges } from './address-range.ts';
import { mayConnect } from './public-address.ts';

const RESOLVE_WITHIN_MS = 10_000;

/** The addresses of a name. */
export type Resolve = (name: string) => Promise<string[]>;

export interface AddressPolicy {
  /** Addresses that are reached although they are not public. */
  allowed: AddressRanges;
  /** The system's own (`getaddrinfo`), when left out. */
  resolve?: Resolve | undefined;
}

export type CheckedAddress =
  | { kind: 'address'; addresses: readonly string[] }
  | { kind: 'refused'; address: string }
  | { kind: 'unknown' };

/**
 * The addresses of a host, once, all of them such as may be connected to. Who connects takes these and does not resolve
 * the name again, so that an answer that changes meanwhile is of no use. `refused` as soon as one of them is not allowed:
 * a name with a public and a private address is made to deceive. Never throws.
 */
export async function checkedAddress(
  host: Host,
  { allowed, resolve = resolveName }: AddressPolicy,
): Promise<CheckedAddress> {
  const addresses = host.kind === 'address' ? [host.address] : await within(resolve(host.name));
  if (addresses.length === 0) return { kind: 'unknown' };
  const refused = addresses.find((address) => !mayConnect(address, allowed));
  return refused === undefined ? { kind: 'address', addresses } : { kind: 'refused', address: refused };
}

async function resolveName(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

/** None where there is no answer, or none in time. */
async function within(answer: Promise<string[]>): Promise<string[]> {
  const late = new AbortController();
  try {
    return await Promise.race([
      answer.catch(() => []),
      delay(RESOLVE_WITHIN_MS, [], { signal: late.signal, ref: false }).catch(() => []),
    ]);
  } finally {
    late.abort();
  }
}
