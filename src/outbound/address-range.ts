import { BlockList, isIP } from 'node:net';

/** Addresses of one network each, as `10.0.0.0/8`; one address where there is no `/`. */
export interface AddressRanges {
  has(address: string): boolean;
  /** Whether an address stands in the list by itself, and not only inside a wider network. */
  names(address: string): boolean;
}

/** @param ranges as `rangeProblem` finds nothing wrong with */
export function addressRanges(ranges: readonly string[]): AddressRanges {
  const [networks, single] = [new BlockList(), new BlockList()];
  for (const range of ranges) {
    const { address, bits, family } = parse(range);
    networks.addSubnet(address, bits, family);
    if (bits === widthOf(family)) single.addAddress(address, family);
  }
  return {
    has: (address) => networks.check(address, familyOf(address)),
    names: (address) => single.check(address, familyOf(address)),
  };
}

function parse(range: string): { address: string; bits: number; family: 'ipv4' | 'ipv6' } {
  const [address = '', bits] = range.split('/');
  const family = familyOf(address);
  return { address, bits: bits === undefined ? widthOf(family) : Number(bits), family };
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

function widthOf(family: 'ipv4' | 'ipv6'): number {
  return family === 'ipv4' ? 32 : 128;
}
