import { claimKeys } from '../executions/dispatcher.ts';
import type { RedisCommands } from '../storage/redis/connection.ts';
import { defineScript, textsOf } from '../storage/redis/script.ts';
import type { ExecutionRecord, Storage } from '../storage/storage.ts';
import { FORGET_AFTER_S, type QueueEntry } from './queue-entry.ts';

const MAX_STALE_HEADS = 1_000;

const ENTER = defineScript(
  'write',
  `
for at = 2, #KEYS do
  redis.call('ZADD', KEYS[at], 0, ARGV[1])
  redis.call('EXPIRE', KEYS[at], ${FORGET_AFTER_S})
  redis.call('SADD', KEYS[1], KEYS[at])
end
redis.call('EXPIRE', KEYS[1], ${FORGET_AFTER_S})
return {}
`,
);

/** How many are before it in the line where most are, and the first of those; nothing when it stands nowhere. */
const AHEAD = defineScript(
  'read',
  `
local most, first, anywhere = 0, '', false
for _, line in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local rank = redis.call('ZRANK', line, ARGV[1])
  if rank then anywhere = true end
  if rank and rank > most then
    most = rank
    first = redis.call('ZRANGE', line, 0, 0)[1]
  end
end
if not anywhere then return {} end
return { tostring(most), first }
`,
);

/** The ids of those who are the first of their line now. */
const LEAVE = defineScript(
  'finish',
  `
local next = {}
for _, line in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  redis.call('ZREM', line, ARGV[1])
  local first = redis.call('ZRANGE', line, 0, 0)[1]
  if first then next[#next + 1] = string.match(first, '^%S+') end
end
redis.call('DEL', KEYS[1])
return next
`,
);

/**
 * Executions that want the same session or the same directory stand in one line, oldest first, from when they are
 * dispatched until they have finished. Only the first of all its lines may start. A line can hold executions that have
 * ended elsewhere (cancelled while they waited, ended as lost); the next one who looks takes them out.
 */
export async function enterLines(commands: RedisCommands, record: ExecutionRecord): Promise<void> {
  const entry = { executionId: record.execution.id, tenant: record.tenant };
  const lines = claimKeys(record).map((key) => `cce:queue-line:${key}`);
  await commands.evaluate(ENTER, [linesKey(entry), ...lines], [memberOf(entry)]);
}

/** How many have to finish before it may start; `undefined` when it stands in no line. */
export async function placesAhead(
  commands: RedisCommands,
  storage: Pick<Storage, 'readExecution'>,
  entry: QueueEntry,
): Promise<number | undefined> {
  for (let step = 0; step < MAX_STALE_HEADS; step += 1) {
    const reply = await commands.evaluate(AHEAD, [linesKey(entry)], [memberOf(entry)]);
    const [ahead, first = ''] = textsOf(reply);
    if (ahead === undefined || ahead === '0') return ahead === undefined ? undefined : 0;
    const head = entryOf(first);
    const stored = await storage.readExecution(head.tenant, head.executionId);
    if (stored !== undefined && stored.state !== 'finished') return Number(ahead);
    await leaveLines(commands, head);
  }
  return 1;
}

/** Takes it out of every line; returns the ids of those who are first now. */
export async function leaveLines(commands: RedisCommands, entry: QueueEntry): Promise<string[]> {
  return textsOf(await commands.evaluate(LEAVE, [linesKey(entry)], [memberOf(entry)]));
}

function linesKey({ executionId }: QueueEntry): string {
  return `cce:queue-lines:${executionId}`;
}

/** Ids are of one length and grow with time (UUIDv7), so members of one score are sorted by age. */
function memberOf({ executionId, tenant }: QueueEntry): string {
  return `${executionId} ${tenant}`;
}

function entryOf(member: string): QueueEntry {
  const at = member.indexOf(' ');
  return { executionId: member.slice(0, at), tenant: member.slice(at + 1) };
}
