import type { Execution } from '../../protocol/execution.ts';
import { StateWord } from '../../protocol/execution-document.ts';
import type { ExecutionFilter, ExecutionRecord, Tenant, UnfinishedExecution } from '../storage.ts';
import type { RedisCommands } from './connection.ts';
import { executionKey, indexKey, KEYS } from './keys.ts';
import { toExecution, toRecord } from './record-values.ts';
import { defineScript, textsOf } from './script.ts';

/** One page of executions, each of which may carry some megabytes of text. */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;
const SCAN_IDS = 200;
/** A page ends early when so many steps found too little; its cursor goes on. */
const MAX_STEPS = 50;
const UNFINISHED_AT_ONCE = 500;
const UNFINISHED_VALUES = 5;

/** How many ids were looked at, the last of them, and id and size of each that matches; newest first. */
const SCAN = defineScript(
  'read',
  `
local cursor, count = ARGV[1], ARGV[2]
local ids = redis.call('ZRANGE', KEYS[1], cursor == '' and '+' or '(' .. cursor, '-', 'BYLEX', 'REV', 'LIMIT', 0, count)
local reply = { tostring(#ids), ids[#ids] or '' }
for _, id in ipairs(ids) do
  local key = 'cce:execution:' .. id
  local held = redis.call('HMGET', key, 'state', 'outcome', 'session')
  local matches = held[1] ~= false
  for at = 1, 3 do
    if ARGV[2 + at] ~= '' and ARGV[2 + at] ~= held[at] then matches = false end
  end
  if matches then
    reply[#reply + 1] = id
    reply[#reply + 1] = tostring(redis.call('HSTRLEN', key, 'execution'))
  end
end
return reply
`,
);

const DOCUMENTS = defineScript(
  'read',
  `
local reply = {}
for _, key in ipairs(KEYS) do
  local held = redis.call('HMGET', key, 'lastSeq', 'execution')
  if held[1] then
    reply[#reply + 1] = held[1]
    reply[#reply + 1] = held[2]
  end
end
return reply
`,
);

/** The last id that was looked at, and the values of each execution. */
const UNFINISHED = defineScript(
  'read',
  `
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local ids = redis.call('ZRANGE', KEYS[1], from, '+', 'BYLEX', 'LIMIT', 0, ARGV[2])
local reply = { ids[#ids] or '' }
for _, id in ipairs(ids) do
  local held = redis.call('HMGET', 'cce:execution:' .. id, 'tenant', 'state', 'instanceId', 'fence')
  if held[1] then
    reply[#reply + 1] = id
    for _, value in ipairs(held) do reply[#reply + 1] = value end
  end
end
return reply
`,
);

const GET = defineScript(
  'read',
  `
local record = readRecord(ARGV[1])
if record[1] ~= ARGV[2] then return {} end
return record
`,
);

export async function getExecution(
  commands: RedisCommands,
  { tenant, id }: { tenant: Tenant; id: string },
): Promise<ExecutionRecord | undefined> {
  const values = textsOf(await commands.evaluate(GET, [executionKey(id)], [id, tenant]));
  return values.length === 0 ? undefined : toRecord(values);
}

/** The public part as it was last stored. */
export async function readExecution(
  commands: RedisCommands,
  { tenant, id }: { tenant: Tenant; id: string },
): Promise<{ state: Execution['state']; json: string } | undefined> {
  const found = await commands.call('HMGET', [executionKey(id), 'tenant', 'state', 'execution']);
  const [owner, state, json] = Array.isArray(found) ? found : [];
  return owner === tenant ? { state: StateWord.parse(state), json: String(json) } : undefined;
}

/** Walks the index that promises the fewest, and looks at the records for the other filters. */
export async function listExecutions(
  commands: RedisCommands,
  filter: ExecutionFilter,
): Promise<{ executions: Execution[]; nextCursor: string | null }> {
  const { chosen, nextCursor } = await chooseIds(commands, filter);
  if (chosen.length === 0) return { executions: [], nextCursor };
  const keys = chosen.map(executionKey);
  const texts = textsOf(await commands.evaluate(DOCUMENTS, keys, [], { replyBytes: MAX_PAGE_BYTES }));
  const executions: Execution[] = [];
  for (let at = 0; at < texts.length; at += 2) {
    executions.push(toExecution(texts[at + 1] ?? '', texts[at] ?? ''));
  }
  return { executions, nextCursor };
}

/** Executions of any tenant that have not finished, oldest first. */
export async function listUnfinished(commands: RedisCommands): Promise<UnfinishedExecution[]> {
  const found: UnfinishedExecution[] = [];
  let cursor = '';
  do {
    const reply = await commands.evaluate(UNFINISHED, [KEYS.unfinished], [cursor, UNFINISHED_AT_ONCE]);
    const [last = '', ...values] = textsOf(reply);
    for (let at = 0; at < values.length; at += UNFINISHED_VALUES) {
      const [id = '', tenant = '', state, instanceId = '', fence] = values.slice(at, at + UNFINISHED_VALUES);
      found.push({ tenant, id, state: StateWord.parse(state), instanceId, fence: Number(fence) });
    }
    cursor = last;
  } while (cursor !== '');
  return found;
}

interface Chosen {
  chosen: string[];
  nextCursor: string | null;
}

async function chooseIds(commands: RedisCommands, filter: ExecutionFilter): Promise<Chosen> {
  const { state = '', outcome = '', sessionId = '' } = filter;
  const index = indexOf(filter);
  const chosen: string[] = [];
  let bytes = 0;
  let cursor = filter.cursor ?? '';
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const reply = await commands.evaluate(SCAN, [index], [cursor, SCAN_IDS, state, outcome, sessionId]);
    const [looked = '', last = '', ...found] = textsOf(reply);
    for (let at = 0; at < found.length; at += 2) {
      bytes += Number(found[at + 1]);
      const full = chosen.length === filter.limit || bytes > MAX_PAGE_BYTES;
      if (full && chosen.length > 0) return { chosen, nextCursor: chosen.at(-1) ?? null };
      chosen.push(found[at] ?? '');
    }
    if (Number(looked) < SCAN_IDS) return { chosen, nextCursor: null };
    cursor = last;
  }
  return { chosen, nextCursor: cursor };
}

function indexOf({ tenant, state, outcome, sessionId }: ExecutionFilter): string {
  if (sessionId !== undefined) return indexKey(tenant, 'session', sessionId);
  if (outcome !== undefined) return indexKey(tenant, 'outcome', outcome);
  return state === undefined ? indexKey(tenant, 'all', '') : indexKey(tenant, 'state', state);
}
