import type { KeyObject } from 'node:crypto';
import jsonwebtoken from 'jsonwebtoken';

/** What the service takes: one secret of its own, or public keys of an issuer, never one as the other. */
export type Algorithm =
  | 'HS256'
  | 'RS256'
  | 'RS384'
  | 'RS512'
  | 'PS256'
  | 'PS384'
  | 'PS512'
  | 'ES256'
  | 'ES384'
  | 'ES512';

/** Whether a token was signed with this key by this very algorithm. The times and names in it are for others to judge. */
export function isSignedWith(token: string, { key, algorithm }: { key: KeyObject; algorithm: Algorithm }): boolean {
  try {
    jsonwebtoken.verify(token, key, { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true });
    return true;
  } catch (error) {
    // The library throws this for every token that is wrong, and passes on what its decoder throws.
    if (error instanceof jsonwebtoken.JsonWebTokenError || error instanceof SyntaxError) return false;
    throw error;
  }
}
