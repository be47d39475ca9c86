import { z } from 'zod';
import type { HttpRoute } from './http-route.ts';
import {
  IssuedToken,
  KeyList,
  KeyQuery,
  MadeKey,
  NewKey,
  Revocation,
  Rotation,
  ServiceKey,
  TokenRequest,
} from './key-schemas.ts';

const byKey = z.strictObject({ keyId: z.string().min(1).max(200) });
const BODY = ['payload_too_large', 'unsupported_media_type', 'too_many'] as const;

/** The routes about keys and tokens; a part of the one table. */
export const KEY_ROUTES = {
  createKey: {
    method: 'POST',
    path: '/v1/keys',
    summary: 'Make a key; it is shown this once',
    access: 'admin',
    body: { json: NewKey },
    responses: { 201: [{ json: MadeKey }] },
    errors: BODY,
  },
  listKeys: {
    method: 'GET',
    path: '/v1/keys',
    summary: 'List the keys of the tenant; for the operator, those of every tenant',
    access: 'admin',
    query: KeyQuery,
    responses: { 200: [{ json: KeyList }] },
    errors: [],
  },
  revokeKey: {
    method: 'DELETE',
    path: '/v1/keys/{keyId}',
    summary: 'Revoke a key; its tokens open nothing any more either',
    access: 'admin',
    params: byKey,
    responses: { 200: [{ json: ServiceKey }] },
    errors: ['not_found'],
  },
  rotateKey: {
    method: 'POST',
    path: '/v1/keys/{keyId}/rotate',
    summary: 'Give a key a new secret; the former one goes on opening for a while',
    access: 'admin',
    params: byKey,
    body: { json: Rotation },
    responses: { 200: [{ json: MadeKey }] },
    errors: ['not_found', 'conflict', ...BODY],
  },
  issueToken: {
    method: 'POST',
    path: '/v1/auth/token',
    summary: 'Make a token that lives for minutes and may do what its key may, or a part of it',
    access: 'any',
    body: { json: TokenRequest },
    responses: { 201: [{ json: IssuedToken }] },
    errors: ['forbidden', ...BODY],
  },
  revokeToken: {
    method: 'POST',
    path: '/v1/auth/revoke',
    summary: 'Make a token open nothing any more',
    access: 'any',
    body: { json: Revocation },
    responses: { 204: [] },
    errors: ['forbidden', 'not_found', ...BODY],
  },
} as const satisfies Record<string, HttpRoute>;
