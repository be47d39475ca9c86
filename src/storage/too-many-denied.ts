import { ServiceError } from '../protocol/errors.ts';
import { MAX_DENIED_TOKENS } from './key-storage.ts';

export function tooManyDenied(): ServiceError {
  const message = `${MAX_DENIED_TOKENS} tokens of this tenant are revoked already; revoke the key that made them instead`;
  return new ServiceError('too_many', message, { data: { retryAfterMs: 60_000 } });
}
