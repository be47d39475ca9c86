import { ServiceError } from '../../protocol/errors.ts';
import { OPERATOR_TENANT } from '../../protocol/tenant.ts';
import { bareKeyDocument, keyDocument, readBareKey, readKeyDocument } from '../key-document.ts';
import { type KeyRecord, type KeyStorage, MAX_DENIED_TOKENS, type UsedKey } from '../key-storage.ts';
import { tooManyDenied } from '../too-many-denied.ts';
import type { RedisCommands } from './connection.ts';
import { deniedTokensKey, KEYS } from './keys.ts';
import { defineScript, textsOf } from './script.ts';

/** `KEYS[1]` has the keys of which no more is kept than every layout knows; all others are in `KEYS[2]`. */
const BOTH = [KEYS.serviceKeys, KEYS.apiKeys];
const ALL = [...BOTH, KEYS.keyUses];
const LIST_BYTES = 16 * 1024 * 1024;

/** The very same key once more is kept too: it is the same call, whose answer was lost. */
const ADD_FIRST = defineScript(
  'write',
  `
need('hash', KEYS[1], KEYS[2])
if redis.call('HLEN', KEYS[1]) == 0 and redis.call('HLEN', KEYS[2]) == 0 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return { redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] and 'kept' or 'refused' }
`,
);

const REPLACE = defineScript(
  'write',
  `
need('hash', KEYS[1], KEYS[2], KEYS[3])
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do redis.call('HDEL', KEYS[3], id) end
redis.call('DEL', KEYS[1])
local found = redis.call('HGETALL', KEYS[2])
for at = 1, #found, 2 do
  if cjson.decode(found[at + 1]).tenant == ARGV[3] then redis.call('HDEL', KEYS[2], found[at]); redis.call('HDEL', KEYS[3], found[at]) end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return {}
`,
);

const ADD = defineScript(
  'write',
  `
need('hash', KEYS[1], KEYS[2])
local known = redis.call('HGET', KEYS[2], ARGV[1])
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 or (known and known ~= ARGV[2]) then return { 'refused' } end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return { 'kept' }
`,
);

/**
 * `ARGV`: id, after, hash and revocation before, before as a bare key. What stands there as after was stored by this very
 * call.
 */
const CHANGE = defineScript(
  'write',
  `
need('hash', KEYS[1], KEYS[2])
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known == ARGV[2] then return { 'kept' } end
if known then
  local key = cjson.decode(known)
  local revoked = key.revokedAt ~= cjson.null and key.revokedAt or ''
  if key.sha256 ~= ARGV[3] or revoked ~= ARGV[4] then return { 'refused' } end
elseif redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[5] then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  return { 'refused' }
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return { 'kept' }
`,
);

const GET = defineScript(
  'read',
  `
need('hash', KEYS[1], KEYS[2])
local own = redis.call('HGET', KEYS[2], ARGV[1])
if own then return { 'own', own } end
local bare = redis.call('HGET', KEYS[1], ARGV[1])
if bare then return { 'bare', bare } end
return {}
`,
);

const LIST = defineScript(
  'read',
  `
need('hash', KEYS[1], KEYS[2], KEYS[3])
local listed = {}
for at, kind in ipairs({ 'bare', 'own' }) do
  for _, document in ipairs(redis.call('HVALS', KEYS[at])) do
    local used = redis.call('HGET', KEYS[3], cjson.decode(document).id)
    for _, value in ipairs({ kind, document, used or '' }) do table.insert(listed, value) end
  end
end
return listed
`,
);

const NOTE_USE = defineScript(
  'write',
  `
need('hash', KEYS[1])
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known or known < ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return {}
`,
);

/** `ARGV`: token, until, now, how many at most. */
const DENY = defineScript(
  'write',
  `
need('zset', KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then return { 'full' } end
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
redis.call('PEXPIREAT', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
return { 'kept' }
`,
);

/** The service API keys, and the tokens that open nothing any more. */
export function createKeyStorage(commands: RedisCommands): KeyStorage {
  return {
    async addFirstKey(key): Promise<boolean> {
      const [outcome] = textsOf(await commands.evaluate(ADD_FIRST, BOTH, [key.id, bareKeyDocument(key)]));
      return outcome === 'kept';
    },

    async replaceKeys(key): Promise<void> {
      await commands.evaluate(REPLACE, ALL, [key.id, bareKeyDocument(key), OPERATOR_TENANT]);
    },

    async addKey(key): Promise<void> {
      const [outcome] = textsOf(await commands.evaluate(ADD, BOTH, [key.id, keyDocument(key)]));
      if (outcome !== 'kept') throw new ServiceError('conflict', `There is a key ${key.id} already.`);
    },

    async changeKey(before, after): Promise<boolean> {
      const { id, sha256, revokedAt } = before;
      const args = [id, keyDocument(after), sha256, revokedAt ?? '', bareKeyDocument(before)];
      return textsOf(await commands.evaluate(CHANGE, BOTH, args))[0] === 'kept';
    },

    async getKey(id): Promise<KeyRecord | undefined> {
      const [kind, document] = textsOf(await commands.evaluate(GET, BOTH, [id]));
      return document === undefined ? undefined : readKey(kind, document);
    },

    async listKeys(tenant): Promise<UsedKey[]> {
      const values = textsOf(await commands.evaluate(LIST, ALL, [], { replyBytes: LIST_BYTES }));
      const found: UsedKey[] = [];
      for (let at = 0; at < values.length; at += 3) {
        const [kind, document = '', used = ''] = values.slice(at, at + 3);
        const key = readKey(kind, document);
        if (key === undefined || (tenant !== undefined && key.tenant !== tenant)) continue;
        found.push({ ...key, lastUsedAt: used === '' ? null : used });
      }
      return found.sort((left, right) => (ageOf(left) < ageOf(right) ? -1 : 1));
    },

    async removeKeys(ids): Promise<void> {
      if (ids.length === 0) return;
      await Promise.all(ALL.map((key) => commands.call('HDEL', [key, ...ids])));
    },

    async noteKeyUse(id, at): Promise<void> {
      await commands.evaluate(NOTE_USE, [KEYS.keyUses], [id, at]);
    },

    async denyToken(tenant, tokenId, until): Promise<void> {
      const args = [tokenId, until, Date.now(), MAX_DENIED_TOKENS];
      const [outcome] = textsOf(await commands.evaluate(DENY, [deniedTokensKey(tenant)], args));
      if (outcome === 'full') throw tooManyDenied();
    },

    async isTokenDenied(tenant, tokenId): Promise<boolean> {
      const until = await commands.call('ZSCORE', [deniedTokensKey(tenant), tokenId]);
      return until !== null && Number(until) >= Date.now();
    },
  };
}

function readKey(kind: string | undefined, document: string): KeyRecord | undefined {
  return kind === 'bare' ? readBareKey(document) : readKeyDocument(document);
}

function ageOf({ createdAt, id }: KeyRecord): string {
  return `${createdAt} ${id}`;
}
