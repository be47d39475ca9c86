import { z } from 'zod';
import { AuthStatus } from './credential-status.ts';
import type { HttpRoute } from './http-route.ts';

/** `true` makes a call of the model API to try the credential, at most once a minute on each node. */
const StatusQuery = z.strictObject({ test: z.enum(['true', 'false']).default('false') });

/** The routes about the credentials that pay; a part of the one table. */
export const CREDENTIAL_ROUTES = {
  authStatus: {
    method: 'GET',
    path: '/v1/auth/status',
    summary: 'Which Claude credential pays on each node, whether it works, and how to repair it; for the operator',
    access: 'admin',
    query: StatusQuery,
    responses: { 200: [{ json: AuthStatus }] },
    errors: ['forbidden'],
  },
  resetMaxAccount: {
    method: 'DELETE',
    path: '/v1/auth/max-account',
    summary:
      'Forget the Claude Max account of the service, so that the next one presented becomes it; for the operator',
    access: 'admin',
    responses: { 204: [] },
    errors: ['forbidden'],
  },
} as const satisfies Record<string, HttpRoute>;
