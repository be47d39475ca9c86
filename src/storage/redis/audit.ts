import { type AuditDraft, type AuditSlice, CHAIN_START, ChainLink, chainEntries } from '../../protocol/audit.ts';
import type { RedisCommands } from './connection.ts';
import { KEYS } from './keys.ts';
import { defineScript, textsOf } from './script.ts';

const MAX_SLICE = 500;
const CUT_ENTRIES = 2_000;
/** Other nodes may be faster so many times; each time one of them has made its way. */
const MAX_TRIES = 1_000;

const LINKS = `
need('stream', KEYS[1])
need('hash', KEYS[2])
local function cutLink()
  local cut = redis.call('HMGET', KEYS[2], 'seq', 'hash')
  return { cut[1] or '${CHAIN_START.seq}', cut[2] or '${CHAIN_START.hash}' }
end
local function linkOf(entry)
  return { string.match(entry[1], '^%d+'), entry[2][4] }
end
local function lastLink()
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  return newest and linkOf(newest) or cutLink()
end
`;

/**
 * Redis knows no SHA-256, so the entries come with their hashes, made for the last link that the node knows; where that
 * is no longer the last one, the answer says which is. Entries that stand there already are those of the same call,
 * whose answer was lost.
 */
const APPEND = defineScript(
  'write',
  `${LINKS}
local seq, hash = ARGV[1], ARGV[2]
local last = lastLink()
if last[1] ~= seq or last[2] ~= hash then
  local there = redis.call('XRANGE', KEYS[1], (tonumber(seq) + 1) .. '-0', (tonumber(seq) + 1) .. '-0')[1]
  if there and there[2][4] == ARGV[4] then return { 'there', last[1], last[2] } end
  return { 'moved', last[1], last[2] }
end
for at = 3, #ARGV, 2 do
  seq = tonumber(seq) + 1
  redis.call('XADD', KEYS[1], seq .. '-0', 'bytes', ARGV[at], 'hash', ARGV[at + 1])
end
return { 'stored' }
`,
);

const READ = defineScript(
  'read',
  `${LINKS}
local last, cut = lastLink(), cutLink()
local reply = { last[1], last[2], cut[1], cut[2] }
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])) do
  reply[#reply + 1] = entry[2][2]
end
return reply
`,
);

/** Removes the entries up to the first that is not older than a time. */
const CUT = defineScript(
  'finish',
  `${LINKS}
local found
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[2])) do
  if cjson.decode(entry[2][2]).time >= ARGV[1] then break end
  found = entry
end
if not found then return { 'done' } end
local link = linkOf(found)
redis.call('HSET', KEYS[2], 'seq', link[1], 'hash', link[2])
redis.call('XTRIM', KEYS[1], 'MINID', (tonumber(link[1]) + 1) .. '-0')
return { 'more' }
`,
);

const AUDIT_KEYS = [KEYS.audit, KEYS.auditCut];

/** Makes the one who appends; it remembers the last link, which other nodes may move. */
export function createAuditAppender(commands: RedisCommands): (drafts: readonly AuditDraft[]) => Promise<void> {
  let known = CHAIN_START;
  return async (drafts) => {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const { lines, last } = chainEntries(drafts, known);
      const args = [known.seq, known.hash, ...lines.flatMap(({ text, hash }) => [text, hash])];
      const [outcome, seq, hash] = textsOf(await commands.evaluate(APPEND, AUDIT_KEYS, args));
      known = outcome === 'stored' ? last : linkFrom(seq, hash);
      if (outcome !== 'moved') return;
    }
    throw new Error('other nodes write to the audit log faster than this one can');
  };
}

export async function readAudit(
  commands: RedisCommands,
  { after, limit }: { after: number; limit: number },
): Promise<AuditSlice> {
  const reply = await commands.evaluate(READ, AUDIT_KEYS, [after, Math.min(limit, MAX_SLICE)]);
  const [lastSeq, lastHash, cutSeq, cutHash, ...texts] = textsOf(reply);
  return { texts, last: linkFrom(lastSeq, lastHash), cut: linkFrom(cutSeq, cutHash) };
}

export async function cutAudit(commands: RedisCommands, before: string): Promise<void> {
  for (;;) {
    const [outcome] = textsOf(await commands.evaluate(CUT, AUDIT_KEYS, [before, CUT_ENTRIES]));
    if (outcome === 'done') return;
  }
}

function linkFrom(seq: string | undefined, hash: string | undefined): ChainLink {
  return ChainLink.parse({ seq: Number(seq), hash });
}
