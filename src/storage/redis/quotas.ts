import { z } from 'zod';
import type { ServiceError } from '../../protocol/errors.ts';
import { dayOf, overQuota, ownerOf, type Quota, START_WINDOW_MS } from '../quota.ts';
import type { RedisCommands } from './connection.ts';
import { BEGINNINGS } from './keys.ts';
import { defineScript, textsOf } from './script.ts';

/** So many of those that count as unfinished are looked at when there is no room: an older node may have ended them. */
const SWEPT = 200;
const DAYS_KEPT_S = 2 * 24 * 3600;

/**
 * For scripts that count against limits: `overLimit` says which one stands in the way, and `count` counts. Both take what
 * `chargeOf` makes. What has not finished is the store's own list, so that a crash leaves no count behind.
 */
export const QUOTAS = `
local function liveKey(owner) return '${BEGINNINGS.live}' .. owner end
local function startsKey(owner) return '${BEGINNINGS.starts}' .. owner end
local function takenKey(owner, day) return '${BEGINNINGS.taken}' .. owner .. ':' .. day end
local function liveCount(key, limit)
  if redis.call('ZCARD', key) < limit then return 0 end
  for _, id in ipairs(redis.call('ZRANGE', key, 0, ${SWEPT - 1})) do
    local state = redis.call('HGET', '${BEGINNINGS.execution}' .. id, 'state')
    if not state or state == 'finished' then redis.call('ZREM', key, id) end
  end
  return redis.call('ZCARD', key)
end
local function overLimit(charge)
  for _, quota in ipairs(charge.quotas) do
    need('zset', liveKey(quota.owner), startsKey(quota.owner))
    need('string', takenKey(quota.owner, charge.day))
  end
  for at, quota in ipairs(charge.quotas) do
    local function over(limit, oldest) return { 'over', tostring(at), limit, oldest or '' } end
    if charge.id and quota.concurrentRuns and liveCount(liveKey(quota.owner), quota.concurrentRuns) >= quota.concurrentRuns then
      return over('concurrentRuns')
    end
    if charge.id and quota.startsPerMinute then
      local key = startsKey(quota.owner)
      redis.call('ZREMRANGEBYSCORE', key, '-inf', charge.at - ${START_WINDOW_MS})
      if redis.call('ZCARD', key) >= quota.startsPerMinute then
        local found = redis.call('ZRANGE', key, -quota.startsPerMinute, -quota.startsPerMinute, 'WITHSCORES')
        return over('startsPerMinute', found[2])
      end
    end
    local taken = tonumber(redis.call('GET', takenKey(quota.owner, charge.day)) or 0)
    if quota.bytesPerDay and taken + charge.bytes > quota.bytesPerDay then return over('bytesPerDay') end
  end
end
local function count(charge)
  for _, quota in ipairs(charge.quotas) do
    if charge.id and quota.concurrentRuns then redis.call('ZADD', liveKey(quota.owner), 0, charge.id) end
    if charge.id and quota.startsPerMinute then
      redis.call('ZADD', startsKey(quota.owner), charge.at, charge.id)
      redis.call('PEXPIRE', startsKey(quota.owner), ${START_WINDOW_MS})
    end
    if quota.bytesPerDay then
      local key = takenKey(quota.owner, charge.day)
      redis.call('INCRBY', key, charge.bytes)
      redis.call('EXPIRE', key, ${DAYS_KEPT_S})
    end
  end
end
`;

/** For scripts that end or undo an execution: it no longer counts. `owners` is the field of its record. */
export const LEAVE_QUOTAS = `
local function leaveQuotas(id, owners)
  for owner in string.gmatch(owners or '', '%S+') do redis.pcall('ZREM', '${BEGINNINGS.live}' .. owner, id) end
end
`;

const TAKE_BYTES = defineScript(
  'write',
  `${QUOTAS}
local charge = cjson.decode(ARGV[1])
local refused = overLimit(charge)
if refused then return refused end
count(charge)
return { 'counted' }
`,
);

export interface Charge {
  quotas: readonly Quota[];
  /** The execution that starts, if one does. */
  id?: string;
  /** Now, in ms. */
  at: number;
  bytes: number;
}

/** As the scripts read it. */
export function chargeOf({ quotas, id, at, bytes }: Charge): string {
  return JSON.stringify({
    quotas: quotas.map((quota) => ({ owner: ownerOf(quota), ...quota.limits })),
    ...(id === undefined ? {} : { id }),
    at,
    day: dayOf(at),
    bytes,
  });
}

/** Those whose unfinished executions are counted, as the record's field `owners` has them. */
export function ownersOf(quotas: readonly Quota[]): string {
  return quotas
    .filter(({ limits }) => limits.concurrentRuns !== undefined)
    .map(ownerOf)
    .join(' ');
}

const Over = z.tuple([z.coerce.number(), z.enum(['concurrentRuns', 'startsPerMinute', 'bytesPerDay']), z.string()]);

/** What stands in the way, from what a script answered after `over`. */
export function refusalFrom(details: readonly string[], { quotas, at }: Charge): ServiceError {
  const [number, limit, oldest] = Over.parse(details);
  const quota = quotas[number - 1];
  if (quota === undefined) throw new Error('a script of the store names a limit that it was not given');
  return overQuota(quota, { limit, at, ...(oldest === '' ? {} : { oldest: Number(oldest) }) });
}

export async function takeBytes(commands: RedisCommands, charge: Charge): Promise<void> {
  const [outcome, ...details] = textsOf(await commands.evaluate(TAKE_BYTES, [], [chargeOf(charge)]));
  if (outcome === 'over') throw refusalFrom(details, charge);
}

const COUNT_WRONG_KEY = defineScript(
  'write',
  `
need('string', KEYS[1])
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return { tostring(count) }
`,
);

export async function countWrongKey(commands: RedisCommands, scope: string, windowMs: number): Promise<number> {
  const key = `${BEGINNINGS.wrongKeys}${scope}`;
  const [count] = textsOf(await commands.evaluate(COUNT_WRONG_KEY, [key], [windowMs]));
  return Number(count);
}
