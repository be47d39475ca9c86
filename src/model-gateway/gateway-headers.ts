import type { IncomingHttpHeaders } from 'node:http';

/** The beta a Max token needs; the CLI sends it in its OAuth mode. */
const OAUTH_BETA = 'oauth-2025-04-20';

/** Headers of one connection (RFC 9110 section 7.6.1), never passed on. */
const HOP_BY_HOP = [
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection'],
  ...['te', 'trailer', 'transfer-encoding', 'upgrade', 'expect'],
];
/**
 * Replaced on the way up: the credential, and what the gateway's own connection settles. Without `accept-encoding`
 * the answer is not compressed, so that its usage can be read.
 */
const REPLACED = ['x-api-key', 'authorization', 'cookie', 'host', 'content-length', 'accept-encoding'];

type DistinctHeaders = Record<string, string[] | undefined>;

export interface GatewayCredential {
  kind: 'api_key' | 'max';
  /** The secret to send now. */
  current(): Promise<string>;
  /** Gets a new secret after the upstream refused `rejected`; resolves at once when there is a newer one already. */
  refresh?(rejected: string): Promise<void>;
  /** Told of every answer that the upstream gave to it, and of a status of 401 where it could not be had. Must not throw. */
  witness?(answer: { status: number; headers: IncomingHttpHeaders }): void;
}

/** The one run token a request presents; `undefined` when it presents none, or two that differ. */
export function presentedToken(headers: DistinctHeaders): string | undefined {
  const keys = headers['x-api-key'] ?? [];
  const bearers = (headers.authorization ?? []).map((value) => value.replace(/^Bearer +/i, ''));
  const tokens = new Set([...keys, ...bearers]);
  return tokens.size === 1 ? [...tokens][0] : undefined;
}

/** The request's headers as they go up: names in lower case, the real credential in place of the run token. */
export function upstreamHeaders(
  headers: DistinctHeaders,
  credential: { kind: GatewayCredential['kind']; secret: string },
): Record<string, string | string[]> {
  const passed = passedOn(headers, REPLACED);
  if (credential.kind === 'api_key') {
    return { ...passed, 'x-api-key': credential.secret };
  }
  const betas = (headers['anthropic-beta'] ?? []).flatMap((value) => value.split(',')).map((beta) => beta.trim());
  const withOauth = betas.includes(OAUTH_BETA) ? betas : [...betas, OAUTH_BETA];
  return {
    ...passed,
    authorization: `Bearer ${credential.secret}`,
    'anthropic-beta': withOauth.filter((beta) => beta !== '').join(','),
  };
}

/** The answer's headers as they go down to the run. */
export function downstreamHeaders(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const distinct = Object.entries(headers).map(([name, value]): [string, string[] | undefined] => [
    name,
    typeof value === 'string' ? [value] : value,
  ]);
  return passedOn(Object.fromEntries(distinct), ['set-cookie']);
}

function passedOn(headers: DistinctHeaders, dropped: readonly string[]): Record<string, string | string[]> {
  const named = (headers.connection ?? [])
    .flatMap((value) => value.toLowerCase().split(','))
    .map((name) => name.trim());
  const out = new Set([...HOP_BY_HOP, ...dropped, ...named]);
  const passed: Record<string, string | string[]> = {};
  for (const [name, values] of Object.entries(headers)) {
    const [first, ...more] = values ?? [];
    if (first !== undefined && !out.has(name.toLowerCase())) {
      passed[name] = more.length === 0 ? first : [first, ...more];
    }
  }
  return passed;
}
