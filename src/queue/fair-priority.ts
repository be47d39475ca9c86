import type { RedisCommands } from '../storage/redis/connection.ts';
import { defineScript, textsOf } from '../storage/redis/script.ts';
import type { ExecutionRecord } from '../storage/storage.ts';
import { FORGET_AFTER_S, queueKey } from './queue-entry.ts';

/** BullMQ takes 1 … 2^21, the lowest first, and there are 101 request priorities. */
const ROUNDS = 20_763;
/** BullMQ's score of a waiting job is its priority times this, plus a counter (its `getPriorityScore.lua`). */
const STEP = 2 ** 32;

const PLACE = defineScript(
  'write',
  `
local tenant, first, rounds, step = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if redis.call('EXISTS', KEYS[1]) == 1 then return {} end
local from, to = string.format('%.0f', first * step), string.format('(%.0f', (first + rounds) * step)
local head = redis.call('ZRANGE', KEYS[3], from, to, 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local last = redis.call('ZRANGE', KEYS[2], 0, 0, 'REV', 'WITHSCORES')
local round = head[2] and math.floor(tonumber(head[2]) / step) - first or tonumber(last[2] or 0)
if round >= rounds / 2 then
  local waiting = redis.call('ZRANGE', KEYS[3], from, to, 'BYSCORE', 'WITHSCORES')
  for at = 1, #waiting, 2 do
    redis.call('ZADD', KEYS[3], string.format('%.0f', tonumber(waiting[at + 1]) - round * step), waiting[at])
    redis.call('HINCRBY', ARGV[5] .. waiting[at], 'priority', -round)
  end
  for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
    local priority = tonumber(redis.call('HGET', ARGV[5] .. id, 'priority'))
    if priority and priority >= first and priority < first + rounds then
      redis.call('HSET', ARGV[5] .. id, 'priority', math.max(first, priority - round))
    end
  end
  local shares = redis.call('ZRANGE', KEYS[2], 0, -1)
  for _, name in ipairs(shares) do redis.call('ZINCRBY', KEYS[2], -round, name) end
  round = 0
end
local share = tonumber(redis.call('ZSCORE', KEYS[2], tenant) or 0)
local mine = math.min(math.max(round, share), rounds - 1)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', round)
redis.call('ZADD', KEYS[2], mine + 1, tenant)
redis.call('EXPIRE', KEYS[2], ${FORGET_AFTER_S})
return { string.format('%.0f', first + mine) }
`,
);

/**
 * The BullMQ priority of an execution, or `undefined` when it is in the queue already. Higher request priorities come
 * first; within one, tenants take turns by start-time fair queueing, all with weight 1: an execution stands in the
 * round after its tenant's last one, but never before the round that is being served. That is the round of the
 * execution at the head, or, where none waits, the one after the last that was given out. So of a tenant with 10,000
 * waiting executions and one with a single one, the latter's is next but one. A priority has 20,763 rounds; when half of
 * them have been served, what waits is moved back to the beginning. A tenant with more executions waiting than fit has
 * the rest in the last round, in their order.
 * @see Goyal, Vin, Cheng: Start-time Fair Queueing (SIGCOMM 1996)
 */
export async function fairPriority(commands: RedisCommands, record: ExecutionRecord): Promise<number | undefined> {
  const { priority } = record.request;
  const first = 1 + (100 - priority) * ROUNDS;
  const keys = [
    queueKey(record.execution.id),
    `cce:queue-shares:${priority}`,
    queueKey('prioritized'),
    queueKey('delayed'),
  ];
  const [place] = textsOf(await commands.evaluate(PLACE, keys, [record.tenant, first, ROUNDS, STEP, queueKey('')]));
  return place === undefined ? undefined : Number(place);
}
