import type { RedisCommands } from './connection.ts';
import { BEGINNINGS, claimKey, claimsKey, KEYS } from './keys.ts';
import { defineScript, textsOf } from './script.ts';

/** A claim binds while its instance lives and its execution has not finished. */
const CLAIM = defineScript(
  'write',
  `
need('set', KEYS[1])
need('zset', KEYS[2])
local executionId, instanceId, grace = ARGV[1], ARGV[2], ARGV[3]
for at = 3, #KEYS do
  need('hash', KEYS[at])
  local holder = redis.call('HMGET', KEYS[at], 'executionId', 'instanceId')
  if holder[1] and holder[1] ~= executionId
    and redis.call('HGET', '${BEGINNINGS.execution}' .. holder[1], 'state') ~= 'finished' and alive(holder[2], grace)
  then
    return { holder[1] }
  end
end
for at = 3, #KEYS do
  redis.call('HSET', KEYS[at], 'executionId', executionId, 'instanceId', instanceId)
  redis.call('SADD', KEYS[1], ARGV[at + 1])
end
return {}
`,
);

const RELEASE = defineScript(
  'finish',
  `
need('set', KEYS[1])
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local key = '${BEGINNINGS.claim}' .. name
  if redis.call('HGET', key, 'executionId') == ARGV[1] then redis.call('DEL', key) end
end
redis.call('DEL', KEYS[1])
return {}
`,
);

/** `grace`: whether an instance is taken for alive that has not been heard of since the connection came back. */
export async function claim(
  commands: RedisCommands,
  names: readonly string[],
  holder: { executionId: string; instanceId: string; grace: boolean },
): Promise<string | undefined> {
  const { executionId, instanceId, grace } = holder;
  const keys = [claimsKey(executionId), KEYS.instances, ...names.map(claimKey)];
  const reply = await commands.evaluate(CLAIM, keys, [executionId, instanceId, grace ? 1 : 0, ...names]);
  return textsOf(reply)[0];
}

export async function releaseClaims(commands: RedisCommands, executionId: string): Promise<void> {
  await commands.evaluate(RELEASE, [claimsKey(executionId)], [executionId]);
}
