import { SPEND_KEPT_DAYS, type SpendAnswer, type SpendReservation, type SpendTotals } from '../payer-storage.ts';
import type { RedisCommands } from './connection.ts';
import { KEYS, spendKey } from './keys.ts';
import { defineScript, textsOf } from './script.ts';

/** A day's hash goes by itself. */
const LEDGER = `
local KEPT_S = ${SPEND_KEPT_DAYS * 24 * 3600}
local function add(day, name, spent, reserved)
  local key = '${spendKey('')}' .. day
  redis.call('HINCRBY', key, 'spent ' .. name, spent)
  redis.call('HINCRBY', key, 'reserved ' .. name, reserved)
  redis.call('EXPIRE', key, KEPT_S)
end
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
`;

/**
 * A reservation whose time is over is booked as it stands, and stays, marked so, for a late settlement until its day is
 * forgotten. The due set holds both kinds, by the time at which the next thing happens to them.
 */
const RESERVE = defineScript(
  'write',
  `${LEDGER}
need('hash', KEYS[1], KEYS[2])
need('zset', KEYS[3])
local id, day, amount, hold = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at = now()
for _, late in ipairs(redis.call('ZRANGE', KEYS[3], '-inf', at, 'BYSCORE', 'LIMIT', 0, 100)) do
  local held = cjson.decode(redis.call('HGET', KEYS[2], late) or '{}')
  if held.day and not held.booked then
    for _, name in ipairs(held.names) do add(held.day, name, held.amount, -held.amount) end
    held.booked = true
    redis.call('HSET', KEYS[2], late, cjson.encode(held))
    redis.call('ZADD', KEYS[3], at + KEPT_S * 1000, late)
  else
    redis.call('HDEL', KEYS[2], late)
    redis.call('ZREM', KEYS[3], late)
  end
end
if redis.call('HEXISTS', KEYS[2], id) == 1 then return { 'reserved_here' } end
local names = {}
for place = 5, #ARGV, 2 do
  local name, limit = ARGV[place], tonumber(ARGV[place + 1])
  local spent = tonumber(redis.call('HGET', KEYS[1], 'spent ' .. name) or '0')
  local reserved = tonumber(redis.call('HGET', KEYS[1], 'reserved ' .. name) or '0')
  if limit and spent >= limit then return { 'full', name, string.format('%d', spent) } end
  if limit and reserved > 0 and spent + reserved + amount > limit then
    return { 'reserved', name, string.format('%d', spent) }
  end
  names[#names + 1] = name
end
redis.call('HSET', KEYS[2], id, cjson.encode({ day = day, amount = amount, names = names }))
redis.call('ZADD', KEYS[3], at + hold, id)
for _, name in ipairs(names) do add(day, name, 0, amount) end
return { 'reserved_here' }
`,
);

const SETTLE = defineScript(
  'finish',
  `${LEDGER}
need('hash', KEYS[1])
need('zset', KEYS[2])
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held then return {} end
held = cjson.decode(held)
local cost = tonumber(ARGV[2])
need('hash', '${spendKey('')}' .. held.day)
for _, name in ipairs(held.names) do
  if held.booked then add(held.day, name, cost - held.amount, 0) else add(held.day, name, cost, -held.amount) end
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return {}
`,
);

export async function reserveSpend(commands: RedisCommands, reservation: SpendReservation): Promise<SpendAnswer> {
  const { id, day, microUsd, counters, holdMs } = reservation;
  const keys = [spendKey(day), KEYS.reservations, KEYS.reservationsDue];
  const limits = counters.flatMap(({ name, limitMicroUsd }) => [name, limitMicroUsd ?? '']);
  const reply = textsOf(await commands.evaluate(RESERVE, keys, [id, day, microUsd, holdMs, ...limits]));
  const [answer, counter = '', spent] = reply;
  if (answer !== 'full' && answer !== 'reserved') return 'reserved_here';
  return { refusal: answer, counter, spentMicroUsd: Number(spent) };
}

export async function settleSpend(commands: RedisCommands, id: string, microUsd: number): Promise<void> {
  await commands.evaluate(SETTLE, [KEYS.reservations, KEYS.reservationsDue], [id, microUsd]);
}

export async function readSpend(commands: RedisCommands, day: string, counter: string): Promise<SpendTotals> {
  const reply = await commands.call('HMGET', [spendKey(day), `spent ${counter}`, `reserved ${counter}`]);
  const [spent, reserved] = Array.isArray(reply) ? reply : [];
  return { spentMicroUsd: Number(spent ?? 0), reservedMicroUsd: Number(reserved ?? 0) };
}
