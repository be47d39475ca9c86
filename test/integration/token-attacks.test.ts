import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import jsonwebtoken from 'jsonwebtoken';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Callers } from '../../src/auth/callers.ts';
import { hmacSigned, ISSUER, issuerClaims, jwt, SECRET, seconds, signer, testCallers } from '../support/callers.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const rs = signer('RS256');
const es = signer('ES256');
const stranger = signer('RS256');
const NO_SIGNATURE = (): Buffer => Buffer.alloc(0);
const unsafe = (text: string): string => text.replaceAll('-', '+').replaceAll('_', '/');

/** Those of an issuer with a JWKS of one RSA and one EC key, or with one key in PEM. */
async function callersOf(keys: 'set' | 'pem'): Promise<Callers> {
  if (keys === 'pem') {
    return (await testCallers({ issuer: { ...ISSUER, jwks: undefined, publicKey: rs.pem } })).callers;
  }
  const jwks = join(await temporaryFolder(), 'jwks.json');
  await writeFile(jwks, JSON.stringify({ keys: [rs.jwk('rsa'), es.jwk('ec')] }));
  return (await testCallers({ issuer: { ...ISSUER, jwks, publicKey: undefined } })).callers;
}

const header = (changes: object): object => ({ alg: 'RS256', typ: 'JWT', kid: 'rsa', ...changes });
const good = (changes: object = {}, claims: object = {}): string =>
  rs.sign(issuerClaims(claims), { kid: 'rsa', ...changes });
const [head = '', body = '', signature = ''] = good().split('.');

/** Every one of these is the good token but for one thing. */
const ATTACKS: Record<string, () => string> = {
  'no algorithm': () => jwt(header({ alg: 'none' }), issuerClaims(), NO_SIGNATURE),
  'no algorithm, with a signature': () => jwt(header({ alg: 'none' }), issuerClaims(), () => Buffer.from('x')),
  'no algorithm, in capitals': () => jwt(header({ alg: 'NONE' }), issuerClaims(), NO_SIGNATURE),
  'no signature': () => `${head}.${body}.`,
  'the public key as a secret': () => hmacSigned({ kid: 'rsa' }, issuerClaims(), rs.pem),
  'the public key as a secret, without its last line end': () => hmacSigned({}, issuerClaims(), rs.pem.trim()),
  'the JWK as a secret': () => hmacSigned({ kid: 'rsa' }, issuerClaims(), JSON.stringify(rs.jwk('rsa'))),
  'the secret of the service for the issuer': () => hmacSigned({ kid: 'rsa' }, issuerClaims(), SECRET),
  'an empty secret': () => hmacSigned({ kid: 'rsa' }, issuerClaims(), ''),
  'another algorithm of the same key': () =>
    jsonwebtoken.sign(issuerClaims(), stranger.pem.slice(0, 40), { algorithm: 'HS512' }),
  'the key of another algorithm': () => rs.sign(issuerClaims(), { kid: 'ec' }),
  'the algorithm of another key': () => es.sign(issuerClaims(), { kid: 'rsa' }),
  'a stranger’s signature': () => stranger.sign(issuerClaims(), { kid: 'rsa' }),
  'a stranger’s key in jwk': () => stranger.sign(issuerClaims(), { kid: 'rsa', jwk: stranger.jwk('rsa') }),
  'a stranger’s key set in jku': () => stranger.sign(issuerClaims(), { kid: 'rsa', jku: 'http://127.0.0.1:9/keys' }),
  'a certificate in x5u': () => stranger.sign(issuerClaims(), { kid: 'rsa', x5u: 'http://127.0.0.1:9/chain' }),
  'a certificate in x5c': () => stranger.sign(issuerClaims(), { kid: 'rsa', x5c: ['AAAA'] }),
  'a good signature beside jku': () => good({ jku: 'https://issuer.example/keys' }),
  'a good signature beside jwk': () => good({ jwk: rs.jwk('rsa') }),
  'a kid that is a path': () => good({ kid: '../../../../dev/null' }),
  'a kid that is SQL': () => good({ kid: "rsa' OR 1=1 --" }),
  'a kid with a NUL': () => good({ kid: 'rsa\0' }),
  'a kid of an object': () => good({ kid: 'constructor' }),
  'a kid that is no text': () => good({ kid: ['rsa'] }),
  'a kid of 10,000 characters': () => good({ kid: 'r'.repeat(5_000) }),
  crit: () => good({ crit: ['exp'] }),
  'crit that is empty': () => good({ crit: [] }),
  b64: () => good({ b64: false, crit: ['b64'] }),
  zip: () => good({ zip: 'DEF' }),
  cty: () => good({ cty: 'JWT' }),
  'no typ': () => good({ typ: undefined }),
  'the typ of a logout token': () => good({ typ: 'logout+jwt' }),
  'the typ of an encrypted token': () => good({ typ: 'JWE' }),
  'a typ that is no text': () => good({ typ: 1 }),
  expired: () => good({}, { exp: seconds(-1), nbf: seconds(-300) }),
  'expired this very second': () => good({}, { exp: seconds() }),
  'not valid yet': () => good({}, { nbf: seconds(60) }),
  'no end': () => good({}, { exp: undefined }),
  'no beginning': () => good({}, { nbf: undefined }),
  'an end that is text': () => good({}, { exp: String(seconds(300)) }),
  'an end beyond all numbers': () => good({}, { exp: 1e300 }),
  'an end between two seconds': () => good({}, { exp: seconds(300) + 0.5 }),
  'a life of more than a day': () => good({}, { exp: seconds(25 * 3_600) }),
  'a beginning long ago': () => good({}, { nbf: seconds(-30 * 24 * 3_600) }),
  'a beginning below zero': () => good({}, { nbf: -1 }),
  'no audience': () => good({}, { aud: undefined }),
  'another audience': () => good({}, { aud: 'another' }),
  'other audiences': () => good({}, { aud: ['another', `${ISSUER.audience} `] }),
  'the audience of the service’s own tokens': () => good({}, { aud: 'cc-executor' }),
  'an audience that is an object': () => good({}, { aud: { 0: ISSUER.audience } }),
  'no issuer': () => good({}, { iss: undefined }),
  'another issuer': () => good({}, { iss: 'https://issuer.example.evil' }),
  'the issuer with a slash': () => good({}, { iss: `${ISSUER.name}/` }),
  'the service itself as issuer': () => good({}, { iss: 'cc-executor', aud: 'cc-executor' }),
  'no tenant': () => good({}, { tenant: undefined }),
  'a tenant that is a path': () => good({}, { tenant: '../local' }),
  'a tenant in capitals': () => good({}, { tenant: 'Local' }),
  'a tenant that is no text': () => good({}, { tenant: ['acme'] }),
  'no subject': () => good({}, { sub: undefined }),
  'scopes that are an object': () => good({}, { scope: { admin: true } }),
  'other claims behind the signature': () =>
    `${head}.${Buffer.from('{"scope":"admin"}').toString('base64url')}.${signature}`,
  'claims given twice': () => rs.sign(`{"tenant":"local",${JSON.stringify(issuerClaims()).slice(1)}`, { kid: 'rsa' }),
  'a header field given twice': () => rs.sign(issuerClaims(), '{"alg":"none","alg":"RS256","typ":"JWT","kid":"rsa"}'),
  'claims that are a list': () => rs.sign('[]', { kid: 'rsa' }),
  'claims that are nothing': () => rs.sign('null', { kid: 'rsa' }),
  'claims with __proto__': () => rs.sign(`{"__proto__":{},${JSON.stringify(issuerClaims()).slice(1)}`, { kid: 'rsa' }),
  'a header that is no JSON': () => `${Buffer.from('{').toString('base64url')}.${body}.${signature}`,
  'padding behind a part': () => `${head}.${body}=.${signature}`,
  'padding behind the signature': () => `${head}.${body}.${signature}==`,
  'the alphabet of another base64': () => `${unsafe(head)}.${unsafe(body)}.${unsafe(signature)}+/`,
  'bits that do not count set in the signature': () => `${head}.${body}.${withSpareBits(signature)}`,
  'spaces around it': () => ` ${good()} `,
  'a line end in it': () => `${head}.${body}.\n${signature}`,
  'four parts': () => `${good()}.${signature}`,
  'five parts, as encrypted tokens have': () => `${head}.${head}.${body}.${body}.${signature}`,
  'two parts': () => `${head}.${body}`,
  'more than 8 KiB': () => good({}, { filler: 'x'.repeat(8_192) }),
  'a megabyte': () => good({}, { filler: 'x'.repeat(1024 * 1024) }),
};

/** The same bytes for those who do not look at the bits of the last character that are left over. */
function withSpareBits(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const changed = `${text.slice(0, -1)}${alphabet[alphabet.indexOf(text.at(-1) ?? '') + 1]}`;
  if (!Buffer.from(changed, 'base64url').equals(Buffer.from(text, 'base64url'))) throw new Error('other bytes');
  return changed;
}

describe('a token of the operator’s issuer', () => {
  test('opens its tenant, with the scopes that are known here, by either kind of key', async () => {
    const callers = await callersOf('set');
    const expected = { tenant: 'acme', keyId: 'issuer:someone', kind: 'issuer', scopes: ['executions:read', 'admin'] };
    expect(await callers.verify(good())).toMatchObject(expected);
    expect(await callers.verify(es.sign(issuerClaims(), { kid: 'ec', typ: 'at+jwt' }))).toMatchObject(expected);
    expect(
      await callers.verify(good({}, { aud: ['other', ISSUER.audience], scope: ['workspaces:read'] })),
    ).toMatchObject({ scopes: ['workspaces:read'] });
    expect((await callers.verify(good({}, { scope: undefined })))?.scopes).toEqual([]);
    expect((await callers.verify(good({}, { nbf: seconds(20) })))?.tenant).toBe('acme');
    const single = await callersOf('pem');
    expect(await single.verify(good({ kid: undefined, x5t: 'abc' }))).toMatchObject(expected);
  });

  test('opens nothing without a kid where the issuer has several keys', async () => {
    expect(await (await callersOf('set')).verify(good({ kid: undefined }))).toBeUndefined();
  });

  describe.each(['set', 'pem'] as const)('whose keys are given as %s', (keys) => {
    let callers: () => Promise<Callers>;
    beforeAll(() => {
      callers = () => callersOf(keys);
    });

    test('opens nothing when there is anything wrong with it', async () => {
      const door = await callers();
      const opened: string[] = [];
      for (const [what, make] of Object.entries(ATTACKS)) {
        // One key is that of every token, whatever kid it names.
        if (
          keys === 'pem' &&
          /^(a kid (that is (a path|SQL)|with a NUL|of an object)|the key of another algorithm)$/.test(what)
        )
          continue;
        if ((await door.verify(make())) !== undefined) opened.push(what);
      }
      expect(opened).toEqual([]);
    });
  });

  test('opens nothing where there is no issuer', async () => {
    expect(await (await testCallers()).callers.verify(good())).toBeUndefined();
  });

  test('opens nothing once its jti is revoked in its tenant', async () => {
    const callers = await callersOf('pem');
    const token = good({ kid: undefined });
    const principal = await callers.verify(token);
    if (principal === undefined) throw new Error('it does not open');
    expect(await principal.stands()).toBe(true);
    await callers.revokeToken(principal, { tokenId: 'a-token' });
    expect([await callers.verify(token), await principal.stands()]).toEqual([undefined, false]);
    expect((await callers.verify(good({ kid: undefined }, { tenant: 'other' })))?.tenant).toBe('other');
  });
});

describe('a token of the service', () => {
  const claimsIn = (token: string): Record<string, unknown> =>
    JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());

  async function issued() {
    const { callers, make, storage } = await testCallers({ issuer: { ...ISSUER, jwks: undefined, publicKey: rs.pem } });
    const { key, id } = await make({ tenant: 'acme', scopes: ['executions:read', 'executions:write'] });
    const principal = await callers.verify(key);
    if (principal === undefined) throw new Error('the key does not open');
    const { token } = await callers.issueToken(principal, key, { expiresInSeconds: 60 });
    return { callers, storage, key, id, principal, token, claims: claimsIn(token) };
  }

  test('opens what its key opens, and names no secret of it', async () => {
    const { callers, token, id, claims, storage } = await issued();
    const expected = { tenant: 'acme', keyId: id, kind: 'token', scopes: ['executions:read', 'executions:write'] };
    expect(await callers.verify(token)).toMatchObject(expected);
    const { sha256 = '' } = (await storage.getKey(id)) ?? {};
    expect(JSON.stringify(claims)).not.toContain(sha256.slice(0, 16));
  });

  test('opens nothing with another signature, algorithm, type, audience, time, key, generation or more scopes', async () => {
    const { callers, token, claims, id } = await issued();
    const forged = (changes: object, more: object = {}): string => hmacSigned(more, { ...claims, ...changes }, SECRET);
    expect((await callers.verify(forged({})))?.keyId).toBe(id);
    const wrong: Record<string, string> = {
      'another secret': hmacSigned({}, claims, `${SECRET}x`),
      'no algorithm': jwt({ alg: 'none', typ: 'JWT' }, claims, NO_SIGNATURE),
      'HS512 of the same secret': jsonwebtoken.sign(claims, SECRET, { algorithm: 'HS512' }),
      'the issuer’s key': rs.sign(claims),
      'an access token': forged({}, { typ: 'at+jwt' }),
      'a kid': forged({}, { kid: 'rsa' }),
      'another audience': forged({ aud: ISSUER.audience }),
      expired: forged({ exp: seconds(-1) }),
      'not valid yet': forged({ nbf: seconds(120), exp: seconds(180) }),
      'a life of more than an hour': forged({ exp: seconds(3_700) }),
      'another key': forged({ sub: '0000000000000000' }),
      'another generation': forged({ gen: '0'.repeat(64) }),
      'no jti': forged({ jti: undefined }),
      'a signature of one bit less': `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`,
    };
    for (const [what, presented] of Object.entries(wrong)) {
      expect([what, await callers.verify(presented)]).toEqual([what, undefined]);
    }
    expect((await callers.verify(forged({ scope: 'admin executions:read nonsense' })))?.scopes).toEqual([
      'executions:read',
    ]);
    expect((await callers.verify(forged({ tenant: 'local' })))?.tenant).toBe('acme');
  });

  test('is made of a key alone, for no more than the key may', async () => {
    const { callers, token, key, principal } = await issued();
    const bearer = await callers.verify(token);
    if (bearer === undefined) throw new Error('it does not open');
    const wanted = { expiresInSeconds: 60 };
    await expect(callers.issueToken(bearer, token, wanted)).rejects.toMatchObject({ code: 'forbidden' });
    const more = callers.issueToken(principal, key, { ...wanted, scopes: ['workspaces:read'] });
    await expect(more).rejects.toMatchObject({ code: 'forbidden', data: { scope: 'workspaces:read' } });
    const less = await callers.issueToken(principal, key, { ...wanted, scopes: ['executions:read'] });
    expect((await callers.verify(less.token))?.scopes).toEqual(['executions:read']);
  });
});

test('an RSA key that is too short, or a private key, is not taken for a public one', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const short = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const secret = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  for (const [publicKeyText, why] of [
    [short, /2048 bits/],
    [secret, /private key/],
  ] as const) {
    const issuer = { ...ISSUER, jwks: undefined, publicKey: publicKeyText };
    await expect(testCallers({ issuer })).rejects.toThrow(why);
  }
});
