import { z } from 'zod';

const Time = z.string();

/** What a node knows about the Claude credential of its operator. Never the secret. */
export const CredentialStatus = z.object({
  /** `null` where there is none that can be used. */
  kind: z.enum(['api_key', 'max']).nullable(),
  /** The variable or place it comes from: exactly one wins. */
  source: z.string().nullable(),
  /** For people. */
  description: z.string(),
  /** When it ends, where it says. */
  validUntil: Time.nullable(),
  /** Why there is none, and how to repair it. */
  problem: z.object({ code: z.string(), message: z.string() }).nullable(),
  /** The last call that was made only to try it; `ok` is null where that could not be found out. */
  lastTest: z
    .object({
      at: Time,
      ok: z.boolean().nullable(),
      status: z.int().nullable(),
      detail: z.string(),
      repair: z.string().nullable(),
    })
    .nullable(),
  /** The last time a run was refused because of it. */
  lastRefusal: z
    .object({
      at: Time,
      kind: z.enum(['refused', 'usage_limit']),
      status: z.int(),
      resetAt: Time.nullable(),
      repair: z.string(),
    })
    .nullable(),
  /**
   * `ok`; `limited`: a usage limit holds until `lastRefusal.resetAt`; `refused`: the model API takes it no more;
   * `missing`: there is none.
   */
  state: z.enum(['ok', 'limited', 'refused', 'missing']),
});
export type CredentialStatus = z.infer<typeof CredentialStatus>;

/** One service process that may run executions, as it told of itself at `at`. */
export const NodeCredential = z.object({
  instanceId: z.string(),
  role: z.enum(['all', 'worker']),
  at: Time,
  credential: CredentialStatus,
});
export type NodeCredential = z.infer<typeof NodeCredential>;

/** Which credentials pay: the operator's on each node, and whether callers may bring their own. */
export const AuthStatus = z.object({
  callerCredentials: z.enum(['on', 'off']),
  maxAllowed: z.boolean(),
  /** The one Claude Max account of the service: the operator's, or the first that a caller has presented. */
  maxAccount: z.enum(['none', 'configured', 'pinned']),
  nodes: z.array(NodeCredential),
});
export type AuthStatus = z.infer<typeof AuthStatus>;
