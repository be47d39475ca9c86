import { createHash } from 'node:crypto';
import { z } from 'zod';
import { parsedJson } from './json.ts';

/** What an entry of the audit log tells of. */
export const AUDIT_ACTIONS = [
  'service.start',
  'service.stop',
  'execution.start',
  'execution.cancel',
  'execution.pause',
  'execution.resume',
  'execution.input',
  'execution.delete',
  'workspace.write',
  'workspace.unpack',
  'egress.denied',
  'key.create',
  'key.rotate',
  'key.revoke',
  'token.issue',
  'token.revoke',
  'credential.pin',
  'credential.reset',
  'login.refused',
  'audit.gap',
] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];

const Hash = z.string().regex(/^[0-9a-f]{64}$/);

/**
 * Who did what, once. Stored as its JSON text, which is never made again; `former` is the SHA-256 of the text of the
 * entry before it, so that none can be changed or taken out without all later ones.
 */
export const AuditEntry = z.object({
  /** 1, 2, 3 … without gaps, in one chain for each store. */
  seq: z.int().min(1),
  time: z.string(),
  action: z.string(),
  /** `ok`, or the error code of a refusal. */
  outcome: z.string(),
  tenant: z.string().nullable(),
  keyId: z.string().nullable(),
  address: z.string().nullable(),
  requestId: z.string().nullable(),
  /** The id or name of what it was done to. */
  subject: z.string().nullable(),
  /** Further facts; never a prompt, an output or a secret. */
  detail: z.record(z.string(), z.string()),
  former: Hash,
});
export type AuditEntry = z.infer<typeof AuditEntry>;

/** An entry that has no place in the chain yet. */
export type AuditDraft = Omit<AuditEntry, 'seq' | 'former' | 'action'> & { action: AuditAction };

/** An entry's place in the chain, and the SHA-256 of its text. */
export const ChainLink = z.object({ seq: z.int().min(0), hash: Hash });
export type ChainLink = z.infer<typeof ChainLink>;

/** Part of the audit log: texts of entries in order, the newest link of all, and the last one that was removed. */
export interface AuditSlice {
  texts: string[];
  last: ChainLink;
  cut: ChainLink;
}

/** What comes before the first entry. */
export const CHAIN_START: ChainLink = { seq: 0, hash: '0'.repeat(64) };

export const MAX_AUDIT_ENTRIES = 1_000;

/** `last` is the newest entry of the log, `cut` the last one that retention removed: the chain goes on from there. */
export const AuditPage = z.object({
  entries: z.array(AuditEntry),
  nextAfter: z.int().min(0),
  last: ChainLink,
  cut: ChainLink,
});
export type AuditPage = z.infer<typeof AuditPage>;

/** The texts of entries in a chain, and the link that the next one follows. */
export function chainEntries(
  drafts: readonly AuditDraft[],
  from: ChainLink,
): { lines: { seq: number; text: string; hash: string }[]; last: ChainLink } {
  let last = from;
  const lines = drafts.map(({ time, action, outcome, tenant, keyId, address, requestId, subject, detail }) => {
    const who = { tenant, keyId, address, requestId };
    const seq = last.seq + 1;
    const text = JSON.stringify({ seq, time, action, outcome, ...who, subject, detail, former: last.hash });
    last = { seq, hash: hashOf(text) };
    return { seq, text, hash: last.hash };
  });
  return { lines, last };
}

/**
 * Follows a chain by the texts of its entries.
 * @param from the link before the first text; the first text itself says it when left out
 * @returns the last link, and how many entries there were; or what is wrong, and where
 */
export async function verifyChain(
  texts: AsyncIterable<string> | Iterable<string>,
  from?: ChainLink,
): Promise<{ entries: number; last: ChainLink } | { problem: string }> {
  let last = from;
  let entries = 0;
  for await (const text of texts) {
    const entry = AuditEntry.safeParse(parsedJson(text)).data;
    if (entry === undefined) return { problem: `line ${entries + 1} is no entry of an audit log` };
    last ??= { seq: entry.seq - 1, hash: entry.former };
    if (entry.seq !== last.seq + 1)
      return { problem: `entry ${last.seq + 1} is missing; ${entry.seq} stands in its place` };
    if (entry.former !== last.hash)
      return { problem: `entry ${last.seq} is not the one that entry ${entry.seq} follows` };
    last = { seq: entry.seq, hash: hashOf(text) };
    entries += 1;
  }
  return { entries, last: last ?? CHAIN_START };
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
