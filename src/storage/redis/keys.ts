/**
 * Every key the store uses. All begin with `cce:`, so that a database number can be shared. None ever expires but those
 * with a time beside their kind. A tenant is written in percent-encoding, so that it holds no colon.
 *
 * | key | kind | holds |
 * | --- | --- | --- |
 * | `cce:schema` | string | the version of this layout, and from which one on it is readable; see `schema.ts` |
 * | `cce:probe` | string | the time of the last probe |
 * | `cce:execution:ID` | hash | a record: its two documents, and what the scripts look at beside them |
 * | `cce:log:ID` | stream | the events; entry `SEQ-0` has the fields `type` and `bytes` |
 * | `cce:index:TENANT:KIND:VALUE` | sorted set | ids by `all`, `state`, `outcome` or `session`; all scores are 0 |
 * | `cce:unfinished` | sorted set | ids of any tenant; all scores are 0 |
 * | `cce:finished` | sorted set | ids by the time of their end, in ms |
 * | `cce:whole-logs` | sorted set | those of them whose log has not been cut |
 * | `cce:log-bytes` | string | event bytes in all |
 * | `cce:directories` | hash | directory → how many records and sessions name it |
 * | `cce:idempotency:TENANT:KEY` | string | the id that the key was used for |
 * | `cce:session:TENANT:ID` | hash | a session's document, and its directory |
 * | `cce:claim:KEY` | hash | the execution that holds it, and the instance |
 * | `cce:claims:ID` | set | the keys that an execution holds |
 * | `cce:service-keys` | hash | the API keys by id of which no more is kept than layout 1 knew |
 * | `cce:api-keys` | hash | all other API keys by id |
 * | `cce:key-uses` | hash | the last use of each key |
 * | `cce:denied-tokens:TENANT` | sorted set, until the last ends | tokens that were revoked, by the time of their end, in ms |
 * | `cce:service-values` | hash | values and secrets that all nodes share, by name |
 * | `cce:envelopes` | hash | id of an unfinished execution → its caller's credential, encrypted |
 * | `cce:spend:DAY` | hash, 8 days | `spent NAME` and `reserved NAME` of each counter |
 * | `cce:reservations` | hash | reservations by id, as JSON |
 * | `cce:reservations-due` | sorted set | their ids by the time at which they count as spent, or are forgotten, in ms |
 * | `cce:instance-notes` | hash | what instances say about themselves |
 * | `cce:audit` | stream | the audit log; entry `SEQ-0` has the fields `bytes` and `hash` |
 * | `cce:audit-cut` | hash | `seq` and `hash` of the last entry of it that was removed |
 * | `cce:live:OWNER` | sorted set | ids that count against a limit of a key or tenant; all scores are 0 |
 * | `cce:starts:OWNER` | sorted set, 60 s | ids by the time of their start, in ms |
 * | `cce:taken:OWNER:DAY` | string, 2 days | bytes taken on a UTC day |
 * | `cce:wrong-keys:ADDRESS` | string, 60 s | wrong keys from an address |
 * | `cce:instance:ID` | string, 12 s | the heartbeat of a living instance |
 * | `cce:instances` | sorted set | instances that were not closed, by the time of their last heartbeat, in ms |
 *
 * The queue of several nodes has keys of its own beside these, below `cce:queue` (src/queue), and the channels
 * `cce:control:INSTANCE` and `cce:answers:INSTANCE`. The channel `cce:bell` carries the id of every execution whose log
 * has grown.
 */
export const KEYS = {
  schema: 'cce:schema',
  probe: 'cce:probe',
  unfinished: 'cce:unfinished',
  finished: 'cce:finished',
  wholeLogs: 'cce:whole-logs',
  logBytes: 'cce:log-bytes',
  directories: 'cce:directories',
  serviceKeys: 'cce:service-keys',
  apiKeys: 'cce:api-keys',
  keyUses: 'cce:key-uses',
  instances: 'cce:instances',
  serviceValues: 'cce:service-values',
  envelopes: 'cce:envelopes',
  reservations: 'cce:reservations',
  reservationsDue: 'cce:reservations-due',
  instanceNotes: 'cce:instance-notes',
  audit: 'cce:audit',
  auditCut: 'cce:audit-cut',
} as const;

/** Beginnings of the keys that scripts complete themselves, because the rest is in the store. */
export const BEGINNINGS = {
  execution: 'cce:execution:',
  index: 'cce:index:',
  idempotency: 'cce:idempotency:',
  session: 'cce:session:',
  claim: 'cce:claim:',
  claims: 'cce:claims:',
  instance: 'cce:instance:',
  live: 'cce:live:',
  starts: 'cce:starts:',
  taken: 'cce:taken:',
  wrongKeys: 'cce:wrong-keys:',
} as const;

export const BELL = 'cce:bell';

/** An instance is dead when it has not renewed its heartbeat for so long. */
export const HEARTBEAT_TTL_MS = 12_000;

/** A tenant as it stands in keys. */
export function scopeOf(tenant: string): string {
  return encodeURIComponent(tenant);
}

export function executionKey(id: string): string {
  return `${BEGINNINGS.execution}${id}`;
}

export function logKey(id: string): string {
  return `cce:log:${id}`;
}

export function indexKey(tenant: string, kind: 'all' | 'state' | 'outcome' | 'session', value: string): string {
  return `${BEGINNINGS.index}${scopeOf(tenant)}:${kind}:${value}`;
}

export function idempotencyKey(tenant: string, key: string): string {
  return `${BEGINNINGS.idempotency}${scopeOf(tenant)}:${key}`;
}

export function sessionKey(tenant: string, id: string): string {
  return `${BEGINNINGS.session}${scopeOf(tenant)}:${id}`;
}

export function claimKey(key: string): string {
  return `${BEGINNINGS.claim}${key}`;
}

export function claimsKey(executionId: string): string {
  return `${BEGINNINGS.claims}${executionId}`;
}

/** @param day a UTC day, such as `2030-01-31` */
export function spendKey(day: string): string {
  return `cce:spend:${day}`;
}

export function deniedTokensKey(tenant: string): string {
  return `cce:denied-tokens:${scopeOf(tenant)}`;
}

export function instanceKey(id: string): string {
  return `${BEGINNINGS.instance}${id}`;
}
