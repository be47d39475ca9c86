import type { AuditDraft, AuditSlice } from '../../protocol/audit.ts';
import type { StoredEvent } from '../../protocol/events.ts';
import type { Execution } from '../../protocol/execution.ts';
import type { Quota } from '../quota.ts';
import type {
  Append,
  CreatedWith,
  Creation,
  EventPage,
  ExecutionFilter,
  ExecutionRecord,
  ExecutionStorage,
  Removal,
  RetentionLimits,
  RetentionReport,
  SessionRecord,
  Storage,
  Tenant,
  UnfinishedExecution,
} from '../storage.ts';
import { type Appender, createAppender } from './append.ts';
import { createAuditAppender, cutAudit, readAudit } from './audit.ts';
import { Bell } from './bell.ts';
import { claim, releaseClaims } from './claims.ts';
import { type RedisCommands, RedisConnection, type StorageLog } from './connection.ts';
import { createExecution, findByKey } from './create-execution.ts';
import { readEvents } from './events.ts';
import { Instances } from './instances.ts';
import { KEYS } from './keys.ts';
import { getExecution, listExecutions, listUnfinished, readExecution } from './list-executions.ts';
import { giveBack, takeOver } from './ownership.ts';
import { createPayerStorage } from './payer-storage.ts';
import { countWrongKey, takeBytes } from './quotas.ts';
import { removeCreated } from './remove-execution.ts';
import { applyRetention, deleteExecution } from './retention.ts';
import { checkSchema } from './schema.ts';
import { checkServer } from './server-check.ts';
import { createKeyStorage } from './service-keys.ts';
import { getSession, putSession } from './sessions.ts';
import { parseRedisUrl, type RedisTarget } from './target.ts';

export interface RedisStorageOptions {
  /** `redis://`, `rediss://` (TLS) or `unix://`; user and password in it. */
  url: string;
  /** Takes a server that forgets everything when it ends (`appendonly no`). */
  allowNoPersistence?: boolean;
  logger?: StorageLog;
}

/**
 * Opens the store in one Redis or Valkey server, version 7 or newer, that is no part of a cluster. Any number of
 * services may share it. With `appendfsync always` what a call has stored survives the end of the server's process and of
 * its machine; with `everysec`, Redis's default, either may cost the last two seconds.
 * @throws ServiceError `storage_unavailable` naming what is wrong with the server, `storage_newer`
 */
export async function openRedisStorage(options: RedisStorageOptions): Promise<Storage> {
  const target = parseRedisUrl(options.url);
  const { allowNoPersistence = false, logger: log } = options;
  let prepare = async (commands: RedisCommands): Promise<void> => {
    await checkServer(commands, { shown: target.shown, allowNoPersistence, log });
    await checkSchema(commands, target.shown);
  };
  const connection = await RedisConnection.open(target, { log, prepare: (commands) => prepare(commands) });
  const instances = new Instances(connection);
  const executions = new RedisExecutionStorage(connection, { target, instances });
  prepare = (commands) => executions.settle(commands);
  return Object.assign(executions, createKeyStorage(connection), createPayerStorage(connection, instances));
}

class RedisExecutionStorage implements ExecutionStorage {
  readonly #connection: RedisConnection;
  readonly #append: Appender;
  readonly #appendAudit: (drafts: readonly AuditDraft[]) => Promise<void>;
  readonly #instances: Instances;
  readonly #bell: Bell;
  /** What may have been stored although its caller was told that it was not, and how to undo it. */
  readonly #unsettled = new Map<string, (commands: RedisCommands) => Promise<void>>();

  constructor(connection: RedisConnection, parts: { target: RedisTarget; instances: Instances }) {
    this.#connection = connection;
    this.#append = createAppender(connection);
    this.#appendAudit = createAuditAppender(connection);
    this.#instances = parts.instances;
    this.#bell = new Bell(parts.target);
  }

  /** Comes first on a connection that is back: this process is alive, and what it was told has failed has not happened. */
  async settle(commands: RedisCommands): Promise<void> {
    await this.#instances.beat(commands);
    for (const [id, undo] of this.#unsettled) {
      await undo(commands);
      this.#unsettled.delete(id);
    }
  }

  createExecution(record: ExecutionRecord, first: StoredEvent, beside: CreatedWith = {}): Promise<Creation> {
    const { runId, execution } = record;
    return createExecution(this.#connection, { record, first, beside }, () => {
      this.#unsettled.set(execution.id, (commands) => removeCreated(commands, { id: execution.id, runId }));
    });
  }

  getExecution(tenant: Tenant, id: string): Promise<ExecutionRecord | undefined> {
    return getExecution(this.#connection, { tenant, id });
  }

  readExecution(tenant: Tenant, id: string): Promise<{ state: Execution['state']; json: string } | undefined> {
    return readExecution(this.#connection, { tenant, id });
  }

  findByKey(tenant: Tenant, key: string): Promise<ExecutionRecord | undefined> {
    return findByKey(this.#connection, { tenant, key });
  }

  listExecutions(filter: ExecutionFilter): Promise<{ executions: Execution[]; nextCursor: string | null }> {
    return listExecutions(this.#connection, filter);
  }

  listUnfinished(): Promise<UnfinishedExecution[]> {
    return listUnfinished(this.#connection);
  }

  append(append: Append): Promise<void> {
    return this.#append(append);
  }

  updateExecution(id: string, fence: number, execution: Execution): Promise<void> {
    return this.#append({ executionId: id, fence, events: [], execution });
  }

  takeOver(id: string, fence: number, instanceId: string): Promise<ExecutionRecord | undefined> {
    const taking = { id, fence, instanceId };
    return takeOver(this.#connection, taking, () => {
      this.#unsettled.set(id, (commands) => giveBack(commands, taking));
    });
  }

  readEvents(id: string, options: { after: number; limit: number; maxBytes: number }): Promise<EventPage> {
    return readEvents(this.#connection, id, options);
  }

  deleteExecution(tenant: Tenant, id: string): Promise<Removal> {
    return deleteExecution(this.#connection, { tenant, id });
  }

  putSession(session: SessionRecord): Promise<void> {
    return putSession(this.#connection, session);
  }

  getSession(tenant: Tenant, id: string): Promise<SessionRecord | undefined> {
    return getSession(this.#connection, { tenant, id });
  }

  claim(keys: readonly string[], holder: { executionId: string; instanceId: string }): Promise<string | undefined> {
    return claim(this.#connection, keys, { ...holder, grace: this.#instances.grace });
  }

  releaseClaims(executionId: string): Promise<void> {
    return releaseClaims(this.#connection, executionId);
  }

  registerInstance(instanceId: string): Promise<void> {
    return this.#instances.register(instanceId);
  }

  instanceAlive(instanceId: string): Promise<boolean> {
    return this.#instances.alive(instanceId);
  }

  appendAudit(drafts: readonly AuditDraft[]): Promise<void> {
    return this.#appendAudit(drafts);
  }

  readAudit(options: { after: number; limit: number }): Promise<AuditSlice> {
    return readAudit(this.#connection, options);
  }

  takeBytes(quotas: readonly Quota[], bytes: number): Promise<void> {
    return takeBytes(this.#connection, { quotas, bytes, at: Date.now() });
  }

  countWrongKey(scope: string, windowMs: number): Promise<number> {
    return countWrongKey(this.#connection, scope, windowMs);
  }

  async applyRetention(limits: RetentionLimits): Promise<RetentionReport> {
    if (limits.auditBefore !== undefined) await cutAudit(this.#connection, limits.auditBefore);
    return applyRetention(this.#connection, limits);
  }

  watch(onChange: (executionId: string) => void): () => void {
    return this.#bell.watch(onChange);
  }

  async probe(): Promise<void> {
    await this.#connection.call('SET', [KEYS.probe, new Date().toISOString()]);
  }

  async close(): Promise<void> {
    this.#bell.close();
    await this.#instances.close();
    await this.#connection.close();
  }
}
