import { ServiceError } from '../protocol/errors.ts';

/** Names under which keys are put into URLs. None of them is a parameter of any route. */
const NAMES =
  /^(x-)?(api[-_]?)?(key|token|secret|password)$|^(access|auth|id|bearer)[-_]?token$|^(authorization|auth|bearer|jwt|credentials?)$/i;
/** What is a key or a token whatever its parameter is called: of this service, of Anthropic, a JWT. */
const VALUES = /^(bearer\s+)?(cck_|sk-ant-|eyJ[A-Za-z0-9_-]+\.)/i;
/** A query is looked at so far; longer ones are refused for what else is in them. */
const MAX_LOOKED_AT = 16_384;

/**
 * URLs end up in logs, histories and Referer headers, so that what is in one is known to others.
 * @throws ServiceError `invalid_request`, naming the parameter and not its value
 */
export function refuseKeyInUrl(url: string): void {
  const start = url.indexOf('?');
  if (start === -1) return;
  for (const [name, value] of new URLSearchParams(url.slice(start + 1, start + MAX_LOOKED_AT))) {
    const isNamed = VALUES.test(name);
    if (!isNamed && !NAMES.test(name) && !VALUES.test(value)) continue;
    const path = isNamed ? 'query' : name.slice(0, 100);
    const message =
      'is a key in the URL, where others can read it; send it as Authorization: Bearer KEY or x-api-key: KEY';
    const advice = 'If it is a real one, replace it: cc-executor keys rotate';
    throw new ServiceError('invalid_request', `${path} ${message}. ${advice}`, {
      data: { errors: [{ path, message }] },
    });
  }
}
