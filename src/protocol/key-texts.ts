import type { IssuedToken, KeyLimits, KeyList, MadeKey, ServiceKey } from './key-schemas.ts';

/** What the documents say of keys and tokens. */
export const KEY_SCHEMA_TEXTS = {
  NewKey: 'A key to be made.',
  KeyLimits: 'What a key may use up. What is left out is not limited by the key.',
  Rotation: 'How a key gets a new secret.',
  TokenRequest: 'A token to be made.',
  Revocation: 'Which token is to open nothing any more: the token itself, or its `jti`.',
  ServiceKey: 'A key, without what opens.',
  MadeKey: 'A key, with what opens, which is shown this once.',
  KeyList: 'Keys, oldest first.',
  IssuedToken: 'A token, which is shown this once.',
} as const;

const SERVICE_KEY: Record<keyof ServiceKey, string> = {
  id: 'Names the key; a part of it, and no secret.',
  name: 'What its maker called it.',
  tenant: 'Whose records it opens.',
  scopes: 'What it may do.',
  limits: 'What it may use up; null for no limits of its own.',
  createdAt: 'When it was made.',
  expiresAt: 'From when on it opens nothing; null for never.',
  lastUsedAt: 'When it last opened something, to the minute; null for never.',
  revokedAt: 'When it was revoked; null while it counts.',
  overlapEndsAt: 'Until when the secret before the last rotation opens too; null when it does not.',
};

export const KEY_INPUT_TEXTS = {
  NewKey: {
    name: 'What it is for, in up to 100 characters.',
    tenant: 'Whose records it opens; left out: the tenant of the caller. Only the operator may name another.',
    scopes: 'What it may do.',
    expiresAt: 'From when on it opens nothing. Left out: never.',
    limits: 'What it may use up.',
  },
  KeyLimits: {
    concurrentRuns: 'Executions that have not finished, at once.',
    startsPerMinute: 'Executions started in a minute.',
    bytesPerDay: 'Bytes of requests and uploads in a day (UTC).',
    spendUsdPerDay: 'US dollars of model calls in a day (UTC).',
  } satisfies Record<keyof KeyLimits, string>,
  Rotation: { overlapSeconds: 'How long the former secret goes on opening; 0 ends it at once, with its tokens.' },
  TokenRequest: {
    scopes: 'What it may do, as far as its key may. Left out: all that its key may.',
    expiresInSeconds: 'How long it opens.',
  },
  Revocation: {
    token: 'The token; of the tenant of the caller, or for the operator of any.',
    tokenId: 'The `jti` of the token; needs the scope `admin`.',
    tenant: 'With `tokenId`: the tenant of the token. Left out: that of the caller.',
  },
} as const;

export const KEY_OUTPUT_TEXTS = {
  ServiceKey: SERVICE_KEY,
  MadeKey: { ...SERVICE_KEY, key: 'What opens. Only its SHA-256 is kept.' } satisfies Record<keyof MadeKey, string>,
  KeyList: { keys: 'All of them, also those that have ended; these go 30 days later.' } satisfies Record<
    keyof KeyList,
    string
  >,
  IssuedToken: {
    token: 'A JWT; presented as a key is.',
    tokenId: 'Its `jti`, by which it can be revoked.',
    tenant: 'Whose records it opens.',
    scopes: 'What it may do.',
    expiresAt: 'From when on it opens nothing.',
  } satisfies Record<keyof IssuedToken, string>,
} as const;
