import { ServiceError } from '../../protocol/errors.ts';
import type { Removal, RetentionLimits, RetentionReport, Tenant } from '../storage.ts';
import type { RedisCommands } from './connection.ts';
import { cutLog } from './events.ts';
import { BEGINNINGS, executionKey, KEYS } from './keys.ts';
import { type Removed, removeFinished } from './remove-execution.ts';
import { defineScript } from './script.ts';
import { toSession } from './sessions.ts';

const BATCH = 100;

/** An older program on the same store ends an execution without knowing of its envelope. */
const DROP_ENVELOPES = defineScript(
  'finish',
  `
need('hash', KEYS[1])
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  local state = redis.call('HGET', '${BEGINNINGS.execution}' .. id, 'state')
  if not state or state == 'finished' then redis.call('HDEL', KEYS[1], id) end
end
return {}
`,
);

/**
 * Every step is one script that leaves each log whole, so a crash in between loses no more than was meant to go, and
 * the next call goes on.
 */
export async function applyRetention(commands: RedisCommands, limits: RetentionLimits): Promise<RetentionReport> {
  await commands.evaluate(DROP_ENVELOPES, [KEYS.envelopes], []);
  const removal: Removal = { executions: [], directories: [], sessions: [] };
  await forEachOlder(commands, { set: KEYS.finished, before: limits.recordsFinishedBefore }, async (id) => {
    await cutLog(commands, id);
    note(removal, id, await removeFinished(commands, id));
  });
  const cutLogs: string[] = [];
  const cut = async (id: string): Promise<void> => {
    await cutLog(commands, id);
    cutLogs.push(id);
  };
  await forEachOlder(commands, { set: KEYS.wholeLogs, before: limits.logsFinishedBefore }, cut);
  while (Number(await commands.call('GET', [KEYS.logBytes])) > limits.maxLogBytes) {
    const [oldest] = await idsOf(commands, 'ZRANGE', [KEYS.wholeLogs, 0, 0]);
    if (oldest === undefined) break;
    await cut(oldest);
  }
  return { cutLogs, ...removal };
}

/** @throws ServiceError `not_found`, `conflict` when it has not finished */
export async function deleteExecution(
  commands: RedisCommands,
  { tenant, id }: { tenant: Tenant; id: string },
): Promise<Removal> {
  const found = await commands.call('HMGET', [executionKey(id), 'tenant', 'state']);
  const [owner, state] = Array.isArray(found) ? found : [];
  if (owner !== tenant) throw new ServiceError('not_found', `There is no execution ${id}.`);
  if (state !== 'finished') throw unfinished(id, String(state));
  await cutLog(commands, id);
  const removal: Removal = { executions: [], directories: [], sessions: [] };
  note(removal, id, await removeFinished(commands, id));
  return removal;
}

function note(removal: Removal, id: string, removed: Removed): void {
  if (removed.kind !== 'removed') return;
  removal.executions.push(id);
  if (removed.directory !== '') removal.directories.push(removed.directory);
  if (removed.session !== '') removal.sessions.push(toSession(removed.session));
}

/** Calls `act` for the ids in the set from before a time, oldest first; it takes each out of the set. */
async function forEachOlder(
  commands: RedisCommands,
  { set, before }: { set: string; before: string },
  act: (id: string) => Promise<void>,
): Promise<void> {
  for (;;) {
    const ids = await idsOf(commands, 'ZRANGE', [set, '-inf', `(${Date.parse(before)}`, 'BYSCORE', 'LIMIT', 0, BATCH]);
    for (const id of ids) await act(id);
    if (ids.length < BATCH) return;
  }
}

async function idsOf(commands: RedisCommands, command: string, args: readonly (string | number)[]): Promise<string[]> {
  const reply = await commands.call(command, args);
  return Array.isArray(reply) ? reply.map(String) : [];
}

function unfinished(id: string, state: string): ServiceError {
  const message = `Execution ${id} is ${state}; cancel it before it is deleted.`;
  return new ServiceError('conflict', message, { data: { state } });
}
