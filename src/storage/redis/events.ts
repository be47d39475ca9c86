import { ServiceError } from '../../protocol/errors.ts';
import { isEventType, type StoredEvent } from '../../protocol/events.ts';
import type { EventPage } from '../storage.ts';
import type { RedisCommands } from './connection.ts';
import { executionKey, KEYS, logKey } from './keys.ts';
import { defineScript, textsOf } from './script.ts';

/** One call of a script returns, or cuts, at most so many events: nobody else is served meanwhile. */
const MAX_PAGE_EVENTS = 5_000;
const CUT_EVENTS = 2_000;

/** One event at a time, because the next one may be 30 MB long. */
const READ = defineScript(
  'read',
  `
local held = redis.call('HMGET', KEYS[1], 'firstSeq', 'lastSeq', 'state')
if not held[1] then return {} end
local after, limit, maxBytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local from = math.max(after + 1, tonumber(held[1]))
local upTo = math.min(tonumber(held[2]), from + limit - 1)
local reply, size = { held[1], held[2], held[3], tostring(from) }, 0
for seq = from, upTo do
  local entry = redis.call('XRANGE', KEYS[2], seq .. '-0', seq .. '-0')[1]
  if not entry then break end
  local type, bytes = entry[2][2], entry[2][4]
  size = size + #bytes
  if seq > from and size > maxBytes then break end
  reply[#reply + 1] = type
  reply[#reply + 1] = bytes
end
return reply
`,
);

/** The bytes are counted anew when only the last event is left: counting those that go would mean reading them. */
const CUT = defineScript(
  'finish',
  `
need('hash', KEYS[1])
need('stream', KEYS[2])
need('string', KEYS[3])
need('zset', KEYS[4])
local held = redis.call('HMGET', KEYS[1], 'firstSeq', 'lastSeq', 'logBytes')
if not held[1] then
  redis.call('ZREM', KEYS[4], ARGV[1])
  return { 'whole' }
end
local last = tonumber(held[2])
local first = math.min(tonumber(held[1]) + tonumber(ARGV[2]), last)
redis.call('XTRIM', KEYS[2], 'MINID', first .. '-0')
redis.call('HSET', KEYS[1], 'firstSeq', first)
if first < last then return { 'more' } end
local entry = redis.call('XRANGE', KEYS[2], last .. '-0', last .. '-0')[1]
local size = entry and #entry[2][4] or 0
redis.call('INCRBY', KEYS[3], size - tonumber(held[3]))
redis.call('HSET', KEYS[1], 'logBytes', size)
redis.call('ZREM', KEYS[4], ARGV[1])
return { 'cut' }
`,
);

/** @throws ServiceError `not_found` */
export async function readEvents(
  commands: RedisCommands,
  id: string,
  { after, limit, maxBytes }: { after: number; limit: number; maxBytes: number },
): Promise<EventPage> {
  const args = [after, Math.min(limit, MAX_PAGE_EVENTS), maxBytes];
  const reply = await commands.evaluate(READ, [executionKey(id), logKey(id)], args, { replyBytes: maxBytes });
  const [firstSeq, lastSeq, state, from, ...texts] = textsOf(reply);
  if (firstSeq === undefined) throw new ServiceError('not_found', `There is no execution ${id}.`);
  const events: StoredEvent[] = [];
  for (let at = 0; at < texts.length; at += 2) {
    events.push(toEvent(Number(from) + at / 2, texts[at], texts[at + 1]));
  }
  return { events, firstSeq: Number(firstSeq), lastSeq: Number(lastSeq), finished: state === 'finished' };
}

/** Cuts a log down to its last event, in steps that each leave it whole from its new first event on. */
export async function cutLog(commands: RedisCommands, id: string): Promise<void> {
  const keys = [executionKey(id), logKey(id), KEYS.logBytes, KEYS.wholeLogs];
  for (;;) {
    const [outcome] = textsOf(await commands.evaluate(CUT, keys, [id, CUT_EVENTS]));
    if (outcome !== 'more') return;
  }
}

function toEvent(seq: number, type = '', bytes = ''): StoredEvent {
  if (!isEventType(type)) throw new Error('an event of the store has no type');
  return { seq, type, bytes };
}
