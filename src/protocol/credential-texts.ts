import type { AuthStatus, CredentialStatus, NodeCredential } from './credential-status.ts';

/** What the documents say of the credentials that pay. */
export const CREDENTIAL_SCHEMA_TEXTS = {
  AuthStatus: 'Which Claude credentials pay: the operator’s on each node, and whether callers may bring their own.',
  NodeCredential: 'One service process that may run executions.',
  CredentialStatus: 'What a node knows about the Claude credential of its operator. Never the secret.',
} as const;

export const CREDENTIAL_OUTPUT_TEXTS = {
  AuthStatus: {
    callerCredentials: 'Whether a Claude credential of the caller’s own is a key (`CC_CALLER_CREDENTIALS`).',
    maxAllowed: 'Whether Claude Max credentials are taken at all (`CC_ALLOW_MAX`).',
    maxAccount:
      'The one Max account: the operator’s (`configured`), the first that a caller presented (`pinned`), or `none`.',
    nodes: 'Nodes that run executions and live, as they told of themselves.',
  } satisfies Record<keyof AuthStatus, string>,
  NodeCredential: {
    instanceId: 'Names the process.',
    role: '`worker` runs, `all` accepts too.',
    at: 'When it told this; nodes tell it at every change and every 30 s.',
    credential: 'How its credential is.',
  } satisfies Record<keyof NodeCredential, string>,
  CredentialStatus: {
    kind: 'An API key or a Claude Max account; null where there is none that can be used.',
    source: 'The variable or place it comes from: exactly one wins.',
    description: 'For people.',
    validUntil: 'When it ends; null where it does not say.',
    problem: 'Why there is none, and how to repair it; null where there is one.',
    lastTest: 'The last call that was made only to try it; `ok` is null where that could not be found out.',
    lastRefusal: 'The last time a run was refused because of it, and how to repair it.',
    state: '`refused`: the model API takes it no more; `limited`: its usage limit holds until `lastRefusal.resetAt`.',
  } satisfies Record<keyof CredentialStatus, string>,
} as const;
