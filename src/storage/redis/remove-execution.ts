import type { RedisCommands } from './connection.ts';
import { BEGINNINGS, claimsKey, executionKey, KEYS, logKey } from './keys.ts';
import { LEAVE_QUOTAS } from './quotas.ts';
import { defineScript, textsOf } from './script.ts';

/**
 * `ARGV[2]`: a record that has `finished`, or one that was `created` by this run, and that nobody has taken over or was
 * told of.
 */
const REMOVE = defineScript(
  'finish',
  `${LEAVE_QUOTAS}
need('hash', KEYS[1], KEYS[7])
need('stream', KEYS[2])
need('set', KEYS[3])
need('zset', KEYS[4], KEYS[5], KEYS[6])
need('string', KEYS[8])
local id, which, runId = unpack(ARGV)
local held = redis.call('HMGET', KEYS[1], 'scope', 'state', 'outcome', 'session', 'directory', 'fresh', 'idempotency',
  'logBytes', 'runId', 'lastSeq', 'fence', 'answered', 'owners')
local scope, state, outcome, session, directory, fresh = unpack(held, 1, 6)
if not scope then return { 'gone' } end
if which == 'finished' and state ~= 'finished' then return { 'unfinished', state } end
local touched = held[9] ~= runId or held[10] ~= '1' or held[11] ~= '1' or held[12]
if which == 'created' and touched then return { 'gone' } end

local indexes = { indexOf(scope, 'all', ''), indexOf(scope, 'state', state) }
if outcome ~= '' then indexes[#indexes + 1] = indexOf(scope, 'outcome', outcome) end
if session ~= '' then indexes[#indexes + 1] = indexOf(scope, 'session', session) end
local sessionKey = '${BEGINNINGS.session}' .. scope .. ':' .. session
need('zset', unpack(indexes))
need('hash', sessionKey)

leaveQuotas(id, held[13])
for _, index in ipairs(indexes) do redis.call('ZREM', index, id) end
for at = 4, 6 do redis.call('ZREM', KEYS[at], id) end
local idempotency = '${BEGINNINGS.idempotency}' .. scope .. ':' .. held[7]
if held[7] ~= '' and redis.call('GET', idempotency) == id then redis.call('DEL', idempotency) end
for _, name in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  local key = '${BEGINNINGS.claim}' .. name
  if redis.call('HGET', key, 'executionId') == id then redis.call('DEL', key) end
end
countDirectory(directory, -1)
redis.call('DECRBY', KEYS[8], held[8])
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
redis.call('HDEL', '${KEYS.envelopes}', id)

local document = ''
if session ~= '' and redis.call('EXISTS', indexOf(scope, 'session', session)) == 0 then
  local unused = redis.call('HMGET', sessionKey, 'document', 'directory')
  if unused[1] then
    document = unused[1]
    redis.call('DEL', sessionKey)
    countDirectory(unused[2], -1)
  end
end
local used = fresh ~= '1' or redis.call('HEXISTS', KEYS[7], directory) == 1
return { 'removed', used and '' or directory, document }
`,
);

/** `directory` and `session` (its document) are empty where something else uses them. */
export type Removed =
  | { kind: 'removed'; directory: string; session: string }
  | { kind: 'gone' }
  | { kind: 'unfinished'; state: string };

/** Removes a finished execution whose log is short, with all that belongs to it alone. */
export function removeFinished(commands: RedisCommands, id: string): Promise<Removed> {
  return remove(commands, id, ['finished', '']);
}

/** Undoes a creation that nobody knows the fate of: its caller was told that it is not stored. */
export async function removeCreated(
  commands: RedisCommands,
  { id, runId }: { id: string; runId: string },
): Promise<void> {
  await remove(commands, id, ['created', runId]);
}

async function remove(commands: RedisCommands, id: string, which: readonly string[]): Promise<Removed> {
  const keys = [
    ...[executionKey(id), logKey(id), claimsKey(id), KEYS.unfinished, KEYS.finished, KEYS.wholeLogs],
    ...[KEYS.directories, KEYS.logBytes],
  ];
  const [kind, detail = '', session = ''] = textsOf(await commands.evaluate(REMOVE, keys, [id, ...which]));
  if (kind === 'removed') return { kind, directory: detail, session };
  return kind === 'unfinished' ? { kind, state: detail } : { kind: 'gone' };
}
