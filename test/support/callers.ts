import { createHmac, createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { onTestFinished } from 'vitest';
import type { Callers } from '../../src/auth/callers.ts';
import { createKey, OPERATOR } from '../../src/auth/key-ring.ts';
import type { Config } from '../../src/config.ts';
import { createLogger } from '../../src/observability/logger.ts';
import type { MadeKey, NewKey } from '../../src/protocol/key-schemas.ts';
import { openCallers } from '../../src/server/open-callers.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { temporaryFolder } from './temporary-folder.ts';

export const SECRET = 'a secret of the test that has more than 32 bytes';
export const ISSUER = { name: 'https://issuer.example', audience: 'executor' };

export interface TestCallers {
  callers: Callers;
  storage: Storage;
  make(wanted: Partial<NewKey>): Promise<MadeKey>;
}

/** What says who calls, on a store of its own. */
export async function testCallers(
  options: { storage?: Storage; issuer?: Config['auth']['issuer']; apiKey?: string } = {},
): Promise<TestCallers> {
  const { issuer, apiKey } = options;
  const storage = options.storage ?? (await openSqliteStorage({ dataDirectory: await temporaryFolder() }));
  if (options.storage === undefined) onTestFinished(() => storage.close());
  const auth = { on: true, jwtSecret: SECRET, issuer };
  const { callers } = await openCallers({ auth, apiKey }, { storage, logger: createLogger('silent') });
  const make = (wanted: Partial<NewKey>): Promise<MadeKey> =>
    createKey(storage, OPERATOR, { name: 'test', scopes: ['admin'], ...wanted });
  return { callers, storage, make };
}

/** A key pair, and how a JWT is signed with it by RS256 or ES256, or with its public part taken for a secret. */
export function signer(kind: 'RS256' | 'ES256') {
  const { privateKey, publicKey } =
    kind === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return {
    pem,
    jwk: (kid: string): object => ({ ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: kind }),
    sign: (claims: object | string, header: object | string = {}): string =>
      jwt(typeof header === 'string' ? header : { alg: kind, typ: 'JWT', ...header }, claims, (input) =>
        signed(kind, privateKey, input),
      ),
  };
}

function signed(kind: 'RS256' | 'ES256', key: KeyObject, input: string): Buffer {
  const pem = createPrivateKey(key.export({ type: 'pkcs8', format: 'pem' }));
  return kind === 'RS256'
    ? sign('sha256', Buffer.from(input), pem)
    : sign('sha256', Buffer.from(input), { key: pem, dsaEncoding: 'ieee-p1363' });
}

export function hmacSigned(header: object, claims: object, secret: string): string {
  return jwt({ alg: 'HS256', typ: 'JWT', ...header }, claims, (input) =>
    createHmac('sha256', secret).update(input).digest(),
  );
}

export function jwt(header: object | string, claims: object | string, signature: (input: string) => Buffer): string {
  const input = `${part(header)}.${part(claims)}`;
  return `${input}.${signature(input).toString('base64url')}`;
}

function part(content: object | string): string {
  return Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)).toString('base64url');
}

/** Seconds since 1970, `later` from now. */
export function seconds(later = 0): number {
  return Math.floor(Date.now() / 1000) + later;
}

/** What an issuer says of a bearer who may do everything, in the tenant `acme`. */
export function issuerClaims(changes: object = {}): object {
  const times = { iat: seconds(), nbf: seconds(), exp: seconds(300) };
  const names = { iss: ISSUER.name, aud: ISSUER.audience, sub: 'someone', jti: 'a-token', tenant: 'acme' };
  return { ...names, ...times, scope: 'openid executions:read admin', ...changes };
}
