import { z } from 'zod';
import type { SessionRecord, Tenant } from '../storage.ts';
import type { RedisCommands } from './connection.ts';
import { KEYS, sessionKey } from './keys.ts';
import { defineScript } from './script.ts';

/** Fields that a later version added are kept. */
const StoredSession = z.looseObject({
  id: z.string(),
  tenant: z.string(),
  workspace: z.string(),
  directory: z.string(),
  fresh: z.boolean(),
  configDirectory: z.string(),
  createdAt: z.string(),
  lastUsedAt: z.string(),
});

const PUT = defineScript(
  'write',
  `
need('hash', KEYS[1], KEYS[2])
putSession(KEYS[1], ARGV[1], ARGV[2])
return {}
`,
);

export async function putSession(commands: RedisCommands, session: SessionRecord): Promise<void> {
  const keys = [sessionKey(session.tenant, session.id), KEYS.directories];
  await commands.evaluate(PUT, keys, [JSON.stringify(session), session.directory]);
}

export async function getSession(
  commands: RedisCommands,
  { tenant, id }: { tenant: Tenant; id: string },
): Promise<SessionRecord | undefined> {
  const document = await commands.call('HGET', [sessionKey(tenant, id), 'document']);
  return typeof document === 'string' ? toSession(document) : undefined;
}

export function toSession(document: string): SessionRecord {
  return StoredSession.parse(JSON.parse(document));
}
