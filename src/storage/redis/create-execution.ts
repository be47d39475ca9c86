import { ServiceError } from '../../protocol/errors.ts';
import type { StoredEvent } from '../../protocol/events.ts';
import type { CreatedWith, ExecutionRecord } from '../storage.ts';
import type { RedisCommands } from './connection.ts';
import { BEGINNINGS, executionKey, idempotencyKey, indexKey, KEYS, logKey, scopeOf, sessionKey } from './keys.ts';
import { type Charge, chargeOf, ownersOf, QUOTAS, refusalFrom } from './quotas.ts';
import { toRecord } from './record-values.ts';
import { defineScript, textsOf } from './script.ts';

/** An execution that was answered to somebody is theirs: a creation that nobody knows the fate of is then not undone. */
const ANSWER = `
local function answer(id)
  local key = '${BEGINNINGS.execution}' .. id
  need('hash', key)
  if redis.call('EXISTS', key) == 0 then return {} end
  redis.call('HSET', key, 'answered', '1')
  return readRecord(id)
end
`;

const CREATE = defineScript(
  'write',
  `${ANSWER}${QUOTAS}
need('hash', KEYS[1], KEYS[7], KEYS[10], KEYS[11])
need('stream', KEYS[2])
need('zset', KEYS[3], KEYS[4], KEYS[5], KEYS[8])
need('string', KEYS[6], KEYS[9])
local id, repeatable, sessionId, session, sessionDirectory, type, bytes, directory, envelope = unpack(ARGV, 1, 9)
local charge = cjson.decode(ARGV[10])
if repeatable == '1' then
  local earlier = redis.call('GET', KEYS[9])
  if earlier then return { 'earlier', unpack(answer(earlier)) } end
end
if redis.call('EXISTS', KEYS[1]) == 1 then return { 'exists' } end
local refused = overLimit(charge)
if refused then return refused end
count(charge)
redis.call('HSET', KEYS[1], unpack(ARGV, 11))
redis.call('HSET', KEYS[1], 'logBytes', #bytes)
redis.call('XADD', KEYS[2], '1-0', 'type', type, 'bytes', bytes)
redis.call('ZADD', KEYS[3], 0, id)
redis.call('ZADD', KEYS[4], 0, id)
redis.call('ZADD', KEYS[5], 0, id)
redis.call('INCRBY', KEYS[6], #bytes)
countDirectory(directory, 1)
if envelope ~= '' then redis.call('HSET', KEYS[11], id, envelope) end
if sessionId ~= '' then redis.call('ZADD', KEYS[8], 0, id) end
if repeatable == '1' then redis.call('SET', KEYS[9], id) end
if session ~= '' then putSession(KEYS[10], session, sessionDirectory) end
return { 'created' }
`,
);

const FIND_BY_KEY = defineScript(
  'finish',
  `${ANSWER}
need('string', KEYS[1])
local id = redis.call('GET', KEYS[1])
return id and answer(id) or {}
`,
);

export interface NewExecution {
  record: ExecutionRecord;
  first: StoredEvent;
  beside: CreatedWith;
}

/** `inDoubt` is told when the execution may have been stored although this throws. */
export async function createExecution(
  commands: RedisCommands,
  { record, first, beside: { session, quotas = [] } }: NewExecution,
  inDoubt: () => void,
): Promise<{ created: boolean; record: ExecutionRecord }> {
  const { execution, request, tenant, directory } = record;
  if (first.seq !== 1 || execution.state === 'finished') {
    throw new Error('an execution starts unfinished, with event 1');
  }
  const sessionId = execution.sessionId ?? request.sessionId ?? '';
  const repeated = request.idempotencyKey;
  const bytes = quotas.length === 0 ? 0 : Buffer.byteLength(JSON.stringify(request));
  const charge: Charge = { quotas, id: execution.id, at: Date.parse(execution.createdAt), bytes };
  const keys = [
    ...[executionKey(execution.id), logKey(execution.id), KEYS.unfinished],
    ...[indexKey(tenant, 'all', ''), indexKey(tenant, 'state', execution.state), KEYS.logBytes, KEYS.directories],
    ...[indexKey(tenant, 'session', sessionId), idempotencyKey(tenant, repeated ?? '')],
    sessionKey(tenant, session?.id ?? ''),
    KEYS.envelopes,
  ];
  const args = [
    ...[execution.id, repeated === undefined ? '' : '1', sessionId],
    ...[session === undefined ? '' : JSON.stringify(session), session?.directory ?? ''],
    ...[first.type, first.bytes, directory, record.envelope ?? '', chargeOf(charge)],
    ...Object.entries({ ...fieldsOf(record, { sessionId }), owners: ownersOf(quotas) }).flat(),
  ];
  const [outcome, ...earlier] = textsOf(await commands.evaluate(CREATE, keys, args, { inDoubt }));
  if (outcome === 'exists') throw new ServiceError('conflict', `There is an execution ${execution.id} already.`);
  if (outcome === 'over') throw refusalFrom(earlier, charge);
  if (outcome === 'earlier') return { created: false, record: toRecord(earlier) };
  return { created: true, record: { ...record, execution: { ...execution, lastSeq: 1 } } };
}

/** The execution that an idempotency key was used for. */
export async function findByKey(
  commands: RedisCommands,
  { tenant, key }: { tenant: string; key: string },
): Promise<ExecutionRecord | undefined> {
  const values = textsOf(await commands.evaluate(FIND_BY_KEY, [idempotencyKey(tenant, key)], []));
  return values.length === 0 ? undefined : toRecord(values);
}

/** The fields of the record's hash; `logBytes` is the script's. */
function fieldsOf(record: ExecutionRecord, { sessionId }: { sessionId: string }): Record<string, string | number> {
  const { tenant, keyId, execution, request, directory, fresh, runId, instanceId, fence, requestHash } = record;
  return {
    tenant,
    scope: scopeOf(tenant),
    directory,
    fresh: fresh ? 1 : 0,
    runId,
    instanceId,
    fence,
    requestHash,
    keyId: keyId ?? '',
    state: execution.state,
    outcome: '',
    session: sessionId,
    idempotency: request.idempotencyKey ?? '',
    firstSeq: 1,
    lastSeq: 1,
    execution: JSON.stringify(execution),
    request: JSON.stringify(request),
  };
}
