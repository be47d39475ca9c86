import { expect, test } from 'vitest';
import { addressRanges } from '../../src/outbound/address-range.ts';
import { checkedAddress } from '../../src/outbound/checked-address.ts';
import { isPublicAddress, mayConnect } from '../../src/outbound/public-address.ts';
import { parseAuthority, parseHost, showHost } from '../../src/protocol/host-name.ts';

const NONE = addressRanges([]);

test.each([
  ...[
    '1.1.1.1',
    '8.8.8.8',
    '100.63.255.255',
    '100.128.0.1',
    '172.15.255.255',
    '172.32.0.1',
    '192.167.1.1',
    '223.255.255.254',
  ],
  ...['126.255.255.255', '128.0.0.1', '169.253.1.1', '198.17.1.1', '198.20.0.1', '11.0.0.1'],
  ...['2606:4700:4700::1111', '2a00:1450:4001::1', '2001:4860:4860::8888'],
])('%s is public', (address) => {
  expect(isPublicAddress(address)).toBe(true);
});

test.each([
  ...['127.0.0.1', '127.0.0.2', '127.255.255.255', '0.0.0.0', '0.1.2.3', '10.0.0.1', '10.255.255.255'],
  ...['172.16.0.1', '172.31.255.255', '192.168.0.1', '192.168.255.255', '169.254.0.1', '100.64.0.1', '100.127.255.255'],
  ...['169.254.169.254', '169.254.170.2', '168.63.129.16', '100.100.100.200', '192.0.0.192', '192.0.0.1'],
  ...['192.0.2.1', '198.51.100.1', '203.0.113.1', '198.18.0.1', '198.19.255.255', '192.88.99.1'],
  ...['224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255'],
  ...['::', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:10.0.0.1', '::ffff:8.8.8.8', '::127.0.0.1', '::7f00:1'],
  ...[
    '0:0:0:0:0:ffff:7f00:0001',
    '64:ff9b::7f00:1',
    '64:ff9b::8.8.8.8',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2002:0808:0808::1',
  ],
  ...['2001::1', '2001:0:53aa:64c::1', '2001:db8::1', '3fff::1', '100::1', '5f00::1'],
  ...['fe80::1', 'fe80::1%eth0', 'febf::1', 'fec0::1', 'fc00::1', 'fd00::1', 'fd00:ec2::254', 'ff02::1', 'ff0e::1'],
  ...['', 'localhost', '0177.0.0.1', '0x7f000001', '2130706433', '127.1', '1.1.1', '1.1.1.1.', '１.1.1.1'],
])('%s is not public', (address) => {
  expect(isPublicAddress(address)).toBe(false);
  expect(mayConnect(address, NONE)).toBe(false);
});

test.each([
  ...[
    '0177.0.0.1',
    '0x7f.0.0.1',
    '0x7f000001',
    '2130706433',
    '017700000001',
    '127.1',
    '127.0.1',
    '0',
    '0x',
    '1.2.3.4.',
  ],
  ...[
    '1.2.3.4.5',
    '256.1.1.1',
    '01.1.1.1',
    'example.0x7f',
    'example.1',
    '127.0.0.1%00',
    '[127.0.0.1]',
    '::1',
    '[::1',
    '[::g]',
  ],
  ...[
    '[fe80::1%eth0]',
    '[fe80::1%25eth0]',
    '１２７.０.０.１',
    '127。0。0。1',
    'ｌocalhost',
    'bücher.example',
    'a..b',
    '.a',
    '-a.example',
  ],
  ...[
    'a-.example',
    'a b',
    'a/b',
    'a\\b',
    'a@b',
    'a#b',
    'a?b',
    'a%2eb',
    'a\tb',
    '',
    '.',
    'a'.repeat(64),
    `${'a.'.repeat(127)}aa`,
  ],
])('%j is no host', (text) => {
  expect(parseHost(text)).toBeUndefined();
});

test.each([
  ['EXAMPLE.org', 'example.org'],
  ['example.org.', 'example.org'],
  ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ['my_host', 'my_host'],
  ['1.2.3.4', '1.2.3.4'],
  ['4chan.example', '4chan.example'],
  ['[2001:DB8:0::1]', '[2001:db8::1]'],
  ['[::ffff:1.2.3.4]', '[::ffff:102:304]'],
])('%s is the host %s', (text, shown) => {
  const host = parseHost(text);
  expect(host && showHost(host)).toBe(shown);
});

test.each([
  'example.org:0',
  'example.org:65536',
  'example.org:',
  'example.org:8o',
  '::1:80',
  'a:b:80',
  '[::1]80',
  'x@y:80',
])('%s is no host with a port', (text) => {
  expect(parseAuthority(text)).toBeUndefined();
});

const name = { kind: 'name', name: 'host.example' } as const;
const resolvingTo = (addresses: string[], allowed = NONE) =>
  checkedAddress(name, { allowed, resolve: async () => addresses });

test('a name that resolves to one address inside is refused, whatever else it resolves to', async () => {
  expect(await resolvingTo(['8.8.8.8'])).toEqual({ kind: 'address', addresses: ['8.8.8.8'] });
  expect(await resolvingTo(['8.8.8.8', '10.0.0.1'])).toEqual({ kind: 'refused', address: '10.0.0.1' });
  expect(await resolvingTo(['::ffff:127.0.0.1'])).toMatchObject({ kind: 'refused' });
  expect(await resolvingTo([])).toEqual({ kind: 'unknown' });
});

test('a name that nobody knows is unknown, and no error', async () => {
  const unknown = checkedAddress(name, { allowed: NONE, resolve: () => Promise.reject(new Error('ENOTFOUND')) });
  expect(await unknown).toEqual({ kind: 'unknown' });
});

test('the operator opens networks and single addresses; cloud metadata only where it is named itself', async () => {
  const wide = addressRanges(['10.0.0.0/8', '169.254.0.0/16', '127.0.0.1', 'fd00::/8']);
  for (const address of ['10.1.2.3', '127.0.0.1', 'fd00::1', '169.254.1.1'])
    expect(mayConnect(address, wide)).toBe(true);
  for (const address of ['127.0.0.2', '192.168.0.1', '169.254.169.254', 'fd00:ec2::254', 'fd00::1%lo']) {
    expect(mayConnect(address, wide)).toBe(false);
  }
  expect(mayConnect('169.254.169.254', addressRanges(['169.254.169.254']))).toBe(true);
  expect(await resolvingTo(['10.1.2.3', '8.8.8.8'], wide)).toMatchObject({ kind: 'address' });
});
