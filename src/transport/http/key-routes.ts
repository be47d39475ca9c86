import { presentedKey } from '../../auth/presented-key.ts';
import { NewKey, Revocation, Rotation, TokenRequest } from '../../protocol/key-schemas.ts';
import { parseInput } from '../../protocol/parse-input.ts';
import type { Door } from '../door.ts';
import { principalOf, type Routes } from './routes.ts';

type KeyRoutes = Pick<Routes, 'createKey' | 'listKeys' | 'revokeKey' | 'rotateKey' | 'issueToken' | 'revokeToken'>;

/** Keys and tokens over HTTP. What holds a secret is kept by nobody on the way. */
export function keyRoutes({ callers, keyRing }: Door): KeyRoutes {
  return {
    createKey: async ({ body, reply, ...call }) => {
      const made = await keyRing.create(principalOf(call), parseInput(NewKey, body));
      reply.code(201).header('cache-control', 'no-store');
      return made;
    },
    listKeys: async ({ query, ...call }) => ({ keys: await keyRing.list(principalOf(call), query) }),
    revokeKey: ({ params, ...call }) => keyRing.revoke(principalOf(call), params.keyId),
    rotateKey: async ({ params, body, reply, ...call }) => {
      const made = await keyRing.rotate(principalOf(call), params.keyId, parseInput(Rotation, body));
      reply.header('cache-control', 'no-store');
      return made;
    },
    issueToken: async ({ body, request, reply, ...call }) => {
      const wanted = parseInput(TokenRequest, body);
      const issued = await callers.issueToken(principalOf(call), presentedKey(request.headers), wanted);
      reply.code(201).header('cache-control', 'no-store');
      return issued;
    },
    revokeToken: async ({ body, reply, ...call }) => {
      await callers.revokeToken(principalOf(call), parseInput(Revocation, body));
      reply.code(204);
    },
  };
}
