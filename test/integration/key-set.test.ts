import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { keysInSet } from '../../src/auth/issuer-keys.ts';
import { KeySet } from '../../src/auth/key-set.ts';
import { signer } from '../support/callers.ts';

const rs = signer('RS256');

interface Issuer {
  set: KeySet;
  /** How often the keys were asked for. */
  asked(): number;
  /** What went wrong, as the operator is told. */
  warnings: string[];
}

async function issuer(answer: (response: ServerResponse, asked: number) => void): Promise<Issuer> {
  let asked = 0;
  const warnings: string[] = [];
  const server = createServer((_request, response) => {
    asked += 1;
    answer(response, asked);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const logger = {
    warn: (fields: object): void => void warnings.push('err' in fields ? String(fields.err) : ''),
  };
  return { set: new KeySet({ source: `http://127.0.0.1:${port}/keys`, logger }), asked: () => asked, warnings };
}

const sent = (keys: unknown[]) => (response: ServerResponse) => void response.end(JSON.stringify({ keys }));

test('is asked for when the first token comes, once by all who come together, and kept', async () => {
  const { set, asked } = await issuer(sent([rs.jwk('a')]));
  expect(asked()).toBe(0);
  const found = await Promise.all(Array.from({ length: 50 }, () => set.find('a')));
  expect(found.every((key) => key?.algorithm === 'RS256')).toBe(true);
  expect(asked()).toBe(1);
});

test('is not asked for again because of names that nobody has, however many', async () => {
  const { set, asked } = await issuer(sent([rs.jwk('a')]));
  await set.find('a');
  for (let tries = 0; tries < 100; tries += 1) expect(await set.find(`made-up-${tries}`)).toBeUndefined();
  expect(asked()).toBe(1);
  expect(await set.find('a')).toBeDefined();
});

test.each<[string, (response: ServerResponse) => void, RegExp]>([
  ['a redirect', (response) => void response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(), /fetch failed/],
  ['an error', (response) => void response.writeHead(500).end('{}'), /status 500/],
  ['no JSON', (response) => void response.end('<html>'), /no JWKS/],
  ['no set', (response) => void response.end('{"keys":{}}'), /no JWKS/],
  ['more than 100 keys', sent(Array.from({ length: 101 }, () => ({}))), /no JWKS of up to 100/],
  ['more than 256 KiB', (response) => void response.end(' '.repeat(300_000)), /longer than 262144/],
])('that is answered with %s is no set, and the operator is told', async (_what, answer, why) => {
  const { set, warnings, asked } = await issuer(answer);
  expect([await set.find('a'), await set.find('a')]).toEqual([undefined, undefined]);
  expect([asked(), warnings]).toEqual([1, [expect.stringMatching(why)]]);
});

test('that never comes whole is given up', { timeout: 20_000 }, async () => {
  const { set, warnings } = await issuer((response) => {
    response.write('{"keys":[');
  });
  const waited = Promise.race([set.find('a'), delay(15_000, 'still waiting')]);
  expect(await waited).toBeUndefined();
  expect(warnings).toEqual([expect.stringMatching(/timeout/i)]);
});

test('gives the keys that check signatures, each for one algorithm, and no others', () => {
  const rsa = { ...rs.jwk('x') };
  const changed = (kid: string, changes: object): object => ({ ...rsa, kid, ...changes });
  const text = JSON.stringify({
    keys: [
      changed('good', {}),
      changed('no-alg', { alg: undefined }),
      changed('ps', { alg: 'PS512' }),
      changed('hmac', { alg: 'HS256' }),
      changed('none', { alg: 'none' }),
      changed('for-encryption', { use: 'enc' }),
      changed('for-signing', { key_ops: ['sign'] }),
      changed('secret', { kty: 'oct', k: 'AAAA' }),
      changed('unnamed', { kid: undefined }),
      changed('empty', { n: '' }),
      changed('short', { n: 'sXchb1g' }),
      { ...signer('ES256').jwk('ec'), alg: undefined },
      { ...signer('ES256').jwk('ec-as-rsa'), alg: 'RS256' },
      null,
      'text',
    ],
  });
  const found = [...keysInSet(text)].map(([kid, { algorithm }]) => [kid, algorithm]);
  expect(found).toEqual([
    ['good', 'RS256'],
    ['no-alg', 'RS256'],
    ['ps', 'PS512'],
    ['ec', 'ES256'],
  ]);
});
