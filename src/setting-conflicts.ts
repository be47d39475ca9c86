import type { z } from 'zod';
import { OWN_ISSUER } from './auth/own-tokens.ts';
import { looksLikeToken } from './auth/token-form.ts';
import { isLoopbackHost } from './loopback.ts';
import type { SETTINGS } from './settings.ts';

/** Those that could be read. */
export type ReadSettings = { [K in keyof typeof SETTINGS]?: z.output<(typeof SETTINGS)[K]['schema']> | undefined };

/**
 * Settings that are each right and cannot be used together: every one, and what to do. No secret is in it.
 * @param wrong the names of those that could not be read
 */
export function settingConflicts(settings: ReadSettings, wrong: ReadonlySet<string>): string[] {
  return CHECKS.filter(({ reads }) => !reads.some((name) => wrong.has(name))).flatMap(({ find }) => find(settings));
}

/** Why a service that asks for no key must not listen there; undefined where it may. */
export function openDoorProblem(host: string): string | undefined {
  if (isLoopbackHost(host)) return undefined;
  return `CC_AUTH is off, and ${host} can be reached from other machines: whoever reaches it could run commands here. Set CC_AUTH=on, or CC_HOST=127.0.0.1`;
}

function shownRole({ CC_ROLE: role, REDIS_URL: url }: ReadSettings): string[] {
  if (role === undefined || role === 'all' || url !== undefined) return [];
  return [`CC_ROLE is ${role}, which needs REDIS_URL: roles share a store and a queue`];
}

function sharedEnvelopes({
  CC_CALLER_CREDENTIALS: callers,
  REDIS_URL: url,
  CC_ENVELOPE_KEY: key,
}: ReadSettings): string[] {
  if (callers !== 'on' || url === undefined || key !== undefined) return [];
  return [
    'CC_CALLER_CREDENTIALS is on with REDIS_URL, which needs CC_ENVELOPE_KEY, the same on every node; make one with: openssl rand -base64 48',
  ];
}

function openDoors({ CC_AUTH, CC_HOST = '', CC_TRUST_PROXY = false }: ReadSettings): string[] {
  if (CC_AUTH !== 'off') return [];
  const reachable = openDoorProblem(CC_HOST);
  const proxied =
    'CC_AUTH is off, and CC_TRUST_PROXY says that others come through a proxy. Set CC_AUTH=on, or unset CC_TRUST_PROXY';
  return [...(reachable === undefined ? [] : [reachable]), ...(CC_TRUST_PROXY === false ? [] : [proxied])];
}

function chosenKey({ CC_API_KEY: key }: ReadSettings): string[] {
  if (key === undefined || !looksLikeToken(key)) return [];
  return ['CC_API_KEY has the form of a JWT, and would be taken for one; choose another'];
}

function ownIssuer(settings: ReadSettings): string[] {
  const { CC_JWT_ISSUER: issuer, CC_JWT_AUDIENCE: audience, CC_JWT_JWKS: jwks, CC_JWT_PUBLIC_KEY: key } = settings;
  if (issuer === undefined) {
    const named = { CC_JWT_AUDIENCE: audience, CC_JWT_JWKS: jwks, CC_JWT_PUBLIC_KEY: key };
    return Object.entries(named).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name} is set without CC_JWT_ISSUER, which says whose tokens it is for; set both`],
    );
  }
  return [
    ...(issuer === OWN_ISSUER ? [`CC_JWT_ISSUER is ${OWN_ISSUER}, the name of this service’s own tokens`] : []),
    ...(audience === undefined
      ? ['CC_JWT_ISSUER is set without CC_JWT_AUDIENCE: tokens for others would open this']
      : []),
    ...(jwks === undefined && key === undefined
      ? ['CC_JWT_ISSUER is set without its keys: set CC_JWT_JWKS or CC_JWT_PUBLIC_KEY']
      : []),
    ...(jwks !== undefined && key !== undefined ? ['CC_JWT_JWKS and CC_JWT_PUBLIC_KEY are both set; unset one'] : []),
  ];
}

/** What is wrong by itself is not told of twice. */
const CHECKS: readonly { reads: readonly (keyof ReadSettings)[]; find(settings: ReadSettings): string[] }[] = [
  { reads: ['CC_ROLE', 'REDIS_URL'], find: shownRole },
  { reads: ['CC_CALLER_CREDENTIALS', 'REDIS_URL', 'CC_ENVELOPE_KEY'], find: sharedEnvelopes },
  { reads: ['CC_AUTH', 'CC_HOST', 'CC_TRUST_PROXY'], find: openDoors },
  { reads: ['CC_API_KEY'], find: chosenKey },
  { reads: ['CC_JWT_ISSUER', 'CC_JWT_AUDIENCE', 'CC_JWT_JWKS', 'CC_JWT_PUBLIC_KEY'], find: ownIssuer },
];
