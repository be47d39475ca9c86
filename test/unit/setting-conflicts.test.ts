import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ConfigError, loadConfig } from '../../src/config.ts';
import { signer } from '../support/callers.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const rs = signer('RS256');
const ISSUER = { CC_JWT_ISSUER: 'https://issuer.example', CC_JWT_AUDIENCE: 'executor' };

function problems(env: Record<string, string>): readonly string[] {
  try {
    loadConfig({ HOME: '/nowhere', ...env });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

test('a service that asks for no key is for this machine alone', () => {
  for (const host of ['127.0.0.1', 'localhost', '::1', '127.1.2.3']) {
    expect(problems({ CC_AUTH: 'off', CC_HOST: host })).toEqual([]);
  }
  for (const host of ['0.0.0.0', '::', '192.168.1.2', 'executor.example', '127.evil.example', '10.0.0.127']) {
    expect(problems({ CC_AUTH: 'off', CC_HOST: host })).toEqual([
      expect.stringMatching(`^CC_AUTH is off, and ${host} .*Set CC_AUTH=on, or CC_HOST=127.0.0.1$`),
    ]);
    expect(problems({ CC_HOST: host })).toEqual([]);
  }
  expect(problems({ CC_AUTH: 'off', CC_TRUST_PROXY: 'on' })).toEqual([expect.stringContaining('CC_TRUST_PROXY')]);
});

test.each<[what: string, env: Record<string, string>, told: RegExp]>([
  ['a secret of 31 bytes', { CC_JWT_SECRET: 's'.repeat(31) }, /^CC_JWT_SECRET is shorter than 32 bytes; make one with/],
  ['a word that is neither', { CC_AUTH: 'maybe' }, /^CC_AUTH /],
  ['an issuer alone', { CC_JWT_ISSUER: 'x', CC_JWT_AUDIENCE: 'y' }, /^CC_JWT_ISSUER is set without its keys/],
  ['an issuer without an audience', { CC_JWT_ISSUER: 'x', CC_JWT_JWKS: '/keys' }, /without CC_JWT_AUDIENCE/],
  ['keys without an issuer', { CC_JWT_JWKS: '/keys' }, /^CC_JWT_JWKS is set without CC_JWT_ISSUER/],
  ['keys twice', { ...ISSUER, CC_JWT_JWKS: '/keys', CC_JWT_PUBLIC_KEY: rs.pem }, /both set; unset one/],
  [
    'the service as issuer',
    { ...ISSUER, CC_JWT_ISSUER: 'cc-executor', CC_JWT_JWKS: '/k' },
    /this service’s own tokens/,
  ],
  [
    'keys over http from elsewhere',
    { ...ISSUER, CC_JWT_JWKS: 'http://issuer.example/keys' },
    /^CC_JWT_JWKS is neither/,
  ],
  ['keys of a relative path', { ...ISSUER, CC_JWT_JWKS: 'keys.json' }, /^CC_JWT_JWKS is neither/],
  ['a password in the URL', { ...ISSUER, CC_JWT_JWKS: 'https://me:pw@issuer.example/' }, /^CC_JWT_JWKS is neither/],
  ['a key that is none', { ...ISSUER, CC_JWT_PUBLIC_KEY: 'x' }, /^CC_JWT_PUBLIC_KEY is no public key in PEM/],
  ['a key of the form of a token', { CC_API_KEY: `eyJ${'a'.repeat(40)}.b.c` }, /^CC_API_KEY has the form of a JWT/],
  ['a lent directory of no tenant', { CC_WORKSPACES: 'shop@Acme=/srv' }, /^CC_WORKSPACES has the entry shop@Acme=/],
  ['a lent directory of no path', { CC_WORKSPACES: 'shop@acme' }, /^CC_WORKSPACES has the entry shop@acme;/],
])('%s stops the start, and alone is told', (_what, env, told) => {
  expect(problems(env)).toEqual([expect.stringMatching(told)]);
});

test.each<[string, Record<string, string>]>([
  ['a secret of 32 bytes, fewer characters', { CC_JWT_SECRET: 'ü'.repeat(16) }],
  ['an https URL', { ...ISSUER, CC_JWT_JWKS: 'https://issuer.example/keys' }],
  ['an http URL of this machine', { ...ISSUER, CC_JWT_JWKS: 'http://127.0.0.1:9000/keys' }],
  ['a file', { ...ISSUER, CC_JWT_JWKS: '/run/secrets/jwks.json' }],
  ['a key', { ...ISSUER, CC_JWT_PUBLIC_KEY: rs.pem }],
  ['a key in one line', { ...ISSUER, CC_JWT_PUBLIC_KEY: rs.pem.replaceAll('\n', '\\n') }],
])('%s is taken', (_what, env) => {
  expect(problems(env)).toEqual([]);
});

test('every wrong setting is told at once, the combinations too, and none with its value', () => {
  const secret = 'short-and-secret';
  const told = problems({
    ...{ CC_PORT: '99999', CC_JWT_SECRET: secret, CC_AUTH: 'off', CC_HOST: '0.0.0.0', CC_JWT_AUDIENCE: 'x' },
    ...{ CC_ROLE: 'worker', CC_ISOLATION: 'L9', REDIS_URL: 'http://nowhere' },
  });
  const names = told.map((line) => line.split(' ', 1)[0]);
  expect(names.sort()).toEqual(
    ['CC_AUTH', 'CC_ISOLATION', 'CC_JWT_AUDIENCE', 'CC_JWT_SECRET', 'CC_PORT', 'REDIS_URL'].sort(),
  );
  expect(told.join()).not.toContain(secret);
});

test('secrets come from files too, and lent directories are kept by tenant', async () => {
  const folder = await temporaryFolder();
  const [secret, key] = [join(folder, 'secret'), join(folder, 'key.pem')];
  await writeFile(secret, `${'s'.repeat(40)}\n`);
  await writeFile(key, rs.pem);
  const config = loadConfig({
    ...{ HOME: folder, ...ISSUER, CC_JWT_SECRET_FILE: secret, CC_JWT_PUBLIC_KEY_FILE: key },
    CC_WORKSPACES: 'shop=/srv/shop, shop@acme=/srv/acme,other@acme=/srv/other',
  });
  expect(config.auth).toMatchObject({ on: true, jwtSecret: 's'.repeat(40), issuer: { audience: 'executor' } });
  expect(config.lentWorkspaces).toEqual({
    local: { shop: '/srv/shop' },
    acme: { shop: '/srv/acme', other: '/srv/other' },
  });
});
