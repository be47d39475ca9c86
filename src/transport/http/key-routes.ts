import { presentedKey } from '../../auth/presented-key.ts';
import {
  type IssuedToken,
  type MadeKey,
  NewKey,
  Revocation,
  Rotation,
  TokenRequest,
} from '../../protocol/key-schemas.ts';
import { parseInput } from '../../protocol/parse-input.ts';
import type { Door } from '../door.ts';
import { callerOf, principalOf, type Routes } from './routes.ts';

type KeyRoutes = Pick<Routes, 'createKey' | 'listKeys' | 'revokeKey' | 'rotateKey' | 'issueToken' | 'revokeToken'>;

/** Keys and tokens over HTTP. What holds a secret is kept by nobody on the way. */
export function keyRoutes({ callers, keyRing, audit }: Door): KeyRoutes {
  return {
    createKey: async ({ body, reply, ...call }) => {
      const made = await audit.during(
        callerOf(call),
        { action: 'key.create', madeOf: ({ id }: MadeKey) => id },
        async () => keyRing.create(principalOf(call), parseInput(NewKey, body)),
      );
      reply.code(201).header('cache-control', 'no-store');
      return made;
    },
    listKeys: async ({ query, ...call }) => ({ keys: await keyRing.list(principalOf(call), query) }),
    revokeKey: ({ params: { keyId }, ...call }) =>
      audit.during(callerOf(call), { action: 'key.revoke', subject: keyId }, () =>
        keyRing.revoke(principalOf(call), keyId),
      ),
    rotateKey: async ({ params: { keyId }, body, reply, ...call }) => {
      const made = await audit.during(callerOf(call), { action: 'key.rotate', subject: keyId }, async () =>
        keyRing.rotate(principalOf(call), keyId, parseInput(Rotation, body)),
      );
      reply.header('cache-control', 'no-store');
      return made;
    },
    issueToken: async ({ body, reply, ...call }) => {
      const wanted = parseInput(TokenRequest, body);
      const issued = await audit.during(
        callerOf(call),
        { action: 'token.issue', madeOf: ({ tokenId }: IssuedToken) => tokenId },
        () => callers.issueToken(principalOf(call), presentedKey(call.request.headers), wanted),
      );
      reply.code(201).header('cache-control', 'no-store');
      return issued;
    },
    revokeToken: async ({ body, reply, ...call }) => {
      const revoked = parseInput(Revocation, body);
      await audit.during(callerOf(call), { action: 'token.revoke', subject: revoked.tokenId }, () =>
        callers.revokeToken(principalOf(call), revoked),
      );
      reply.code(204);
    },
  };
}
