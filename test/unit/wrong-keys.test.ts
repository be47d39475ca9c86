import { expect, test, vi } from 'vitest';
import { WrongKeys } from '../../src/auth/wrong-keys.ts';
import { ServiceError } from '../../src/protocol/errors.ts';

function made(limit: number, share?: (scope: string) => Promise<number>): { keys: WrongKeys; refused: string[] } {
  const refused: string[] = [];
  return { keys: new WrongKeys({ limit, share, onRefused: (scope) => void refused.push(scope) }), refused };
}

async function fail(keys: WrongKeys, address: string, times = 1): Promise<void> {
  for (let time = 0; time < times; time += 1) await keys.count(address);
}

test('an address is refused after so many wrong keys, for the rest of the minute, and that is told once', async () => {
  vi.useFakeTimers();
  try {
    const { keys, refused } = made(3);
    await fail(keys, '192.0.2.1', 2);
    keys.assertMayTry('192.0.2.1');
    await fail(keys, '192.0.2.1', 3);
    expect(() => keys.assertMayTry('192.0.2.1')).toThrow(
      expect.objectContaining({ code: 'too_many', data: { retryAfterMs: 60_000 } }),
    );
    keys.assertMayTry('192.0.2.2');
    expect(refused).toEqual(['192.0.2.1']);
    vi.advanceTimersByTime(60_001);
    keys.assertMayTry('192.0.2.1');
    await fail(keys, '192.0.2.1', 2);
    keys.assertMayTry('192.0.2.1');
  } finally {
    vi.useRealTimers();
  }
});

test.each([
  ['two addresses of an IPv6 network of 64 bits', '2001:db8:1:2::1', '2001:db8:1:2:ffff::9', true],
  ['two networks of 64 bits', '2001:db8:1:2::1', '2001:db8:1:3::1', false],
  ['short and long spelling', '2001:db8::1', '2001:0db8:0:0:0:0:0:2', true],
  ['IPv4 and the same mapped into IPv6', '192.0.2.1', '::ffff:192.0.2.1', true],
  ['two addresses mapped into IPv6', '::ffff:192.0.2.1', '::ffff:192.0.2.2', false],
  ['a link-local address on two interfaces', 'fe80::1%eth0', 'fe80::2%eth1', true],
  ['neighbours in IPv4', '192.0.2.1', '192.0.2.2', false],
])('%s', async (_title, guessing, other, together) => {
  const { keys } = made(1);
  await fail(keys, guessing);
  expect(keys.mayTry(other)).toBe(!together);
});

test('what other nodes have counted counts here', async () => {
  const { keys, refused } = made(10, async () => 10);
  await fail(keys, '192.0.2.1');
  expect(keys.mayTry('192.0.2.1')).toBe(false);
  expect(refused).toEqual(['192.0.2.1']);
});

test('while the shared store is away, each node counts by itself', async () => {
  const { keys } = made(2, () => Promise.reject(new ServiceError('storage_unavailable', 'away')));
  await fail(keys, '192.0.2.1');
  expect(keys.mayTry('192.0.2.1')).toBe(true);
  await fail(keys, '192.0.2.1');
  expect(keys.mayTry('192.0.2.1')).toBe(false);
});

test('ten thousand addresses are remembered, and the oldest is forgotten for another', async () => {
  const { keys } = made(1);
  for (let number = 0; number < 10_001; number += 1)
    await fail(keys, `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`);
  expect(keys.mayTry('10.0.0.0')).toBe(true);
  expect(keys.mayTry('10.0.0.1')).toBe(false);
});
