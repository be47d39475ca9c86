import type { ExecutionRecord } from '../storage.ts';
import type { RedisCommands } from './connection.ts';
import { executionKey } from './keys.ts';
import { toRecord } from './record-values.ts';
import { defineScript, textsOf } from './script.ts';

const TAKE_OVER = defineScript(
  'finish',
  `
need('hash', KEYS[1])
local held = redis.call('HMGET', KEYS[1], 'fence', 'state')
if held[1] ~= ARGV[2] or held[2] == 'finished' then return {} end
redis.call('HSET', KEYS[1], 'instanceId', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'fence', 1)
return readRecord(ARGV[1])
`,
);

/** The record then belongs to nobody, and anybody may take it over. */
const GIVE_BACK = defineScript(
  'finish',
  `
need('hash', KEYS[1])
local held = redis.call('HMGET', KEYS[1], 'fence', 'instanceId')
if held[1] == ARGV[1] and held[2] == ARGV[2] then redis.call('HSET', KEYS[1], 'instanceId', '') end
return {}
`,
);

interface TakeOver {
  id: string;
  /** The one before. */
  fence: number;
  instanceId: string;
}

/** `inDoubt` is told when the record may have been taken over although this throws. */
export async function takeOver(
  commands: RedisCommands,
  { id, fence, instanceId }: TakeOver,
  inDoubt: () => void,
): Promise<ExecutionRecord | undefined> {
  const reply = await commands.evaluate(TAKE_OVER, [executionKey(id)], [id, fence, instanceId], { inDoubt });
  const values = textsOf(reply);
  return values.length === 0 ? undefined : toRecord(values);
}

/** Undoes a take-over that nobody knows the fate of, so that no record belongs to an instance that does not know it. */
export async function giveBack(commands: RedisCommands, { id, fence, instanceId }: TakeOver): Promise<void> {
  await commands.evaluate(GIVE_BACK, [executionKey(id)], [fence + 1, instanceId]);
}
