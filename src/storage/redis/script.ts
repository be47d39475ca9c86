import { createHash } from 'node:crypto';
import { BEGINNINGS, KEYS } from './keys.ts';

/** A Lua script, and its name on the server: the SHA-1 of its text. */
export interface Script {
  text: string;
  sha: string;
}

/**
 * What every script may call. A script looks at the kind of each key before it writes to any: Redis does not take back
 * what a script wrote before it failed.
 */
const PRELUDE = `
local function need(kind, ...)
  for _, key in ipairs({...}) do
    local found = redis.call('TYPE', key).ok
    if found ~= 'none' and found ~= kind then
      error({ err = 'WRONGKEY ' .. found .. ' ' .. kind .. ' ' .. key })
    end
  end
end
local function indexOf(scope, kind, value)
  return '${BEGINNINGS.index}' .. scope .. ':' .. kind .. ':' .. value
end
local function countDirectory(directory, by)
  if redis.call('HINCRBY', '${KEYS.directories}', directory, by) <= 0 then
    redis.call('HDEL', '${KEYS.directories}', directory)
  end
end
local function putSession(key, document, directory)
  local before = redis.call('HGET', key, 'directory')
  if before then countDirectory(before, -1) end
  redis.call('HSET', key, 'document', document, 'directory', directory)
  countDirectory(directory, 1)
end
local function readRecord(id)
  local record = redis.call('HMGET', '${BEGINNINGS.execution}' .. id, 'tenant', 'directory', 'fresh', 'runId', 'instanceId',
    'fence', 'requestHash', 'lastSeq', 'execution', 'request', 'keyId')
  record[11] = record[11] or ''
  return record
end
local function alive(instance, grace)
  return redis.call('EXISTS', '${BEGINNINGS.instance}' .. instance) == 1
    or (grace == '1' and redis.call('ZSCORE', '${KEYS.instances}', instance) ~= false)
end
`;

/** `read`: also on a full server. `write`: refused on a full one. `finish`: small or freeing writes, never refused for room. */
const FLAGS = { read: 'flags=no-writes', write: '', finish: 'flags=allow-oom' } as const;

/** Makes a script. Flags: https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags */
export function defineScript(kind: keyof typeof FLAGS, body: string): Script {
  const text = `#!lua ${FLAGS[kind]}`.trimEnd() + PRELUDE + body;
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/** A script's reply of texts; anything else there is a defect. */
export function textsOf(reply: unknown): string[] {
  if (!Array.isArray(reply)) throw new Error('a script of the store did not answer with a list');
  return reply.map((value: unknown) => {
    if (typeof value !== 'string') throw new Error(`a script of the store answered with ${typeof value}`);
    return value;
  });
}
