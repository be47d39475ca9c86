import { ServiceError } from '../../protocol/errors.ts';
import type { StoredEvent } from '../../protocol/events.ts';
import type { Append } from '../storage.ts';
import type { RedisCommands } from './connection.ts';
import { BELL, executionKey, KEYS, logKey } from './keys.ts';
import { LEAVE_QUOTAS } from './quotas.ts';
import { defineScript, textsOf } from './script.ts';

/** More executions than one process runs; the oldest doubt is forgotten past it. */
const MAX_DOUBTS = 10_000;

/**
 * Returns what stands in the way: the first two values say what. An append that was in doubt may repeat stored events,
 * if they are the same to the byte; what follows them is new.
 */
const BODY = `${LEAVE_QUOTAS}
need('hash', KEYS[1], KEYS[7])
need('stream', KEYS[2])
need('string', KEYS[3])
need('zset', KEYS[4], KEYS[5], KEYS[6])
local id, fence, first, mayRepeat, ends, document, state, outcome, session, finishedAt = unpack(ARGV, 1, 10)
local OFFSET = 10
local held = redis.call('HMGET', KEYS[1], 'fence', 'state', 'lastSeq', 'scope', 'outcome', 'session', 'owners')
if not held[1] then return { 'not_found' } end
local count, last, stored = (#ARGV - OFFSET) / 2, tonumber(held[3]), 0
first = tonumber(first)

if mayRepeat == '1' and count > 0 and first <= last then
  local upTo = math.min(first + count - 1, last)
  local entries = redis.call('XRANGE', KEYS[2], first .. '-0', upTo .. '-0')
  for at, entry in ipairs(entries) do
    local fields = entry[2]
    if fields[2] ~= ARGV[OFFSET + 2 * at - 1] or fields[4] ~= ARGV[OFFSET + 2 * at] then break end
    stored = at
  end
end
if held[2] == 'finished' then
  if ends == '1' and stored == count and first + count - 1 == last then return { 'stored' } end
  return { 'finished' }
end
if held[1] ~= fence then return { 'fence', held[1] } end
if count > 0 and first + stored ~= last + 1 then return { 'seq', tostring(last + 1) } end

local moves = {}
local function move(kind, from, to)
  if from == to then return end
  for _, value in ipairs({ from, to }) do
    if value ~= '' then need('zset', indexOf(held[4], kind, value)) end
  end
  moves[#moves + 1] = { kind, from, to }
end
if document ~= '' then
  move('state', held[2], state)
  move('outcome', held[5], outcome)
  if session ~= '' then move('session', held[6], session) end
end

local size = 0
for at = stored + 1, count do
  local type, bytes = ARGV[OFFSET + 2 * at - 1], ARGV[OFFSET + 2 * at]
  redis.call('XADD', KEYS[2], (first + at - 1) .. '-0', 'type', type, 'bytes', bytes)
  size = size + #bytes
end
if count > stored then
  redis.call('HSET', KEYS[1], 'lastSeq', first + count - 1)
  redis.call('HINCRBY', KEYS[1], 'logBytes', size)
  redis.call('INCRBY', KEYS[3], size)
end
if document ~= '' then redis.call('HSET', KEYS[1], 'execution', document) end
for _, change in ipairs(moves) do
  local kind, from, to = unpack(change)
  if from ~= '' then redis.call('ZREM', indexOf(held[4], kind, from), id) end
  if to ~= '' then redis.call('ZADD', indexOf(held[4], kind, to), 0, id) end
  redis.call('HSET', KEYS[1], kind, to)
end
if ends == '1' then
  redis.call('HDEL', KEYS[7], id)
  redis.call('ZREM', KEYS[4], id)
  leaveQuotas(id, held[7])
  redis.call('ZADD', KEYS[5], finishedAt, id)
  redis.call('ZADD', KEYS[6], finishedAt, id)
end
-- A user who may not publish still stores.
if count > stored then redis.pcall('PUBLISH', '${BELL}', id) end
return { 'stored' }
`;

const APPEND = defineScript('write', BODY);
/** The end of a run is taken on a full server too: Redis has room above `maxmemory` for what little it is. */
const FINISH = defineScript('finish', BODY);

export type Appender = (append: Append) => Promise<void>;

/**
 * Makes the one who appends. It remembers which appends nobody knows the fate of, because the writer repeats those;
 * any other repetition is a second writer's, and is refused.
 */
export function createAppender(commands: RedisCommands): Appender {
  const doubts = new Set<string>();
  return async (append) => {
    const { executionId: id, events } = append;
    const ends = refuseHalfAnEnd(append);
    refuseGap(events, id);
    const keys = [
      executionKey(id),
      logKey(id),
      KEYS.logBytes,
      KEYS.unfinished,
      KEYS.finished,
      KEYS.wholeLogs,
      KEYS.envelopes,
    ];
    const args = [
      ...[id, append.fence, events[0]?.seq ?? 0, doubts.has(id) ? 1 : 0, ends ? 1 : 0],
      ...documentArgs(append),
      ...events.flatMap(({ type, bytes }) => [type, bytes]),
    ];
    const inDoubt = (): void => {
      if (events.length > 0) remember(doubts, id);
    };
    const [outcome = '', detail = ''] = textsOf(
      await commands.evaluate(ends ? FINISH : APPEND, keys, args, { inDoubt }),
    );
    if (events.length > 0) doubts.delete(id);
    refuse({ outcome, detail }, append);
  };
}

function documentArgs({ execution }: Append): (string | number)[] {
  if (execution === undefined) return ['', '', '', '', 0];
  const { state, outcome, sessionId, finishedAt } = execution;
  const endedAt = finishedAt === null ? Date.now() : Date.parse(finishedAt);
  return [JSON.stringify(execution), state, outcome?.kind ?? '', sessionId ?? '', endedAt];
}

/** Says whether the append ends the execution. */
function refuseHalfAnEnd({ events, execution }: Append): boolean {
  const ends = events.some((event) => event.type === 'execution.finished');
  if (ends !== (execution?.state === 'finished') || (ends && events.at(-1)?.type !== 'execution.finished')) {
    throw new Error('the last event, execution.finished, and the finished record are stored together or not at all');
  }
  return ends;
}

function refuseGap(events: readonly StoredEvent[], id: string): void {
  const first = events[0]?.seq ?? 0;
  for (const [index, event] of events.entries()) {
    if (event.seq !== first + index) {
      throw new ServiceError('stale_writer', `Execution ${id}: event ${event.seq} does not follow the one before it.`);
    }
  }
}

function refuse(
  { outcome, detail }: { outcome: string; detail: string },
  { executionId: id, fence, events }: Append,
): void {
  switch (outcome) {
    case 'stored':
      return;
    case 'not_found':
      throw new ServiceError('not_found', `There is no execution ${id}.`);
    case 'finished':
      throw new ServiceError('stale_writer', `Execution ${id} is finished; nothing can be added to it.`);
    case 'fence':
      throw new ServiceError(
        'stale_writer',
        `Execution ${id} belongs to writer ${detail}; writer ${fence} is refused.`,
      );
    default: {
      const message = `Execution ${id} takes event ${detail} next; event ${events[0]?.seq} is refused.`;
      throw new ServiceError('stale_writer', message);
    }
  }
}

function remember(doubts: Set<string>, id: string): void {
  doubts.add(id);
  const [oldest] = doubts;
  if (doubts.size > MAX_DOUBTS && oldest !== undefined) doubts.delete(oldest);
}
