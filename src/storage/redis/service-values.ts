import type { InstanceNote } from '../payer-storage.ts';
import type { RedisCommands } from './connection.ts';
import { KEYS } from './keys.ts';
import { defineScript, textsOf } from './script.ts';

const KEEP = defineScript(
  'write',
  `
need('hash', KEYS[1])
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return { redis.call('HGET', KEYS[1], ARGV[1]) }
`,
);

const NOTES = defineScript(
  'finish',
  `
need('hash', KEYS[1])
local reply = {}
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  if alive(all[at], ARGV[1]) then
    reply[#reply + 1] = all[at]
    reply[#reply + 1] = all[at + 1]
  else
    redis.call('HDEL', KEYS[1], all[at])
  end
end
return reply
`,
);

export async function keepValue(commands: RedisCommands, name: string, value: string): Promise<string> {
  const [kept = value] = textsOf(await commands.evaluate(KEEP, [KEYS.serviceValues], [name, value]));
  return kept;
}

export async function replaceValue(commands: RedisCommands, name: string, value: string | undefined): Promise<void> {
  if (value === undefined) await commands.call('HDEL', [KEYS.serviceValues, name]);
  else await commands.call('HSET', [KEYS.serviceValues, name, value]);
}

export async function getValue(commands: RedisCommands, name: string): Promise<string | undefined> {
  const value = await commands.call('HGET', [KEYS.serviceValues, name]);
  return typeof value === 'string' ? value : undefined;
}

export async function publishNote(commands: RedisCommands, { instanceId, note }: InstanceNote): Promise<void> {
  await commands.call('HSET', [KEYS.instanceNotes, instanceId, note]);
}

/** `grace` as in `claim`. */
export async function listNotes(commands: RedisCommands, grace: boolean): Promise<InstanceNote[]> {
  const reply = textsOf(await commands.evaluate(NOTES, [KEYS.instanceNotes], [grace ? 1 : 0]));
  const notes = reply.flatMap((instanceId, at) => {
    const note = reply[at + 1];
    return at % 2 === 0 && note !== undefined ? [{ instanceId, note }] : [];
  });
  return notes.sort((left, right) => (left.instanceId < right.instanceId ? -1 : 1));
}
