import { z } from 'zod';
import type { KeyRecord } from '../storage.ts';
import type { RedisCommands } from './connection.ts';
import { KEYS } from './keys.ts';
import { defineScript, textsOf } from './script.ts';

const StoredKey = z.object({ id: z.string(), sha256: z.string(), createdAt: z.string() });

/** The very same key once more is kept too: it is the same call, whose answer was lost. */
const ADD_FIRST = defineScript(
  'write',
  `
need('hash', KEYS[1])
if redis.call('HLEN', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return { redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] and 'kept' or 'refused' }
`,
);

const REPLACE = defineScript(
  'write',
  `
need('hash', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return {}
`,
);

export async function addFirstKey(commands: RedisCommands, key: KeyRecord): Promise<boolean> {
  const [outcome] = textsOf(await commands.evaluate(ADD_FIRST, [KEYS.serviceKeys], [key.id, JSON.stringify(key)]));
  return outcome === 'kept';
}

export async function replaceKeys(commands: RedisCommands, key: KeyRecord): Promise<void> {
  await commands.evaluate(REPLACE, [KEYS.serviceKeys], [key.id, JSON.stringify(key)]);
}

export async function getKey(commands: RedisCommands, id: string): Promise<KeyRecord | undefined> {
  const document = await commands.call('HGET', [KEYS.serviceKeys, id]);
  return typeof document === 'string' ? StoredKey.parse(JSON.parse(document)) : undefined;
}
