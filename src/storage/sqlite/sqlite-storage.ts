import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { AuditDraft, AuditSlice } from '../../protocol/audit.ts';
import { ServiceError } from '../../protocol/errors.ts';
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
import { type AuditTable, createAuditTable } from './audit.ts';
import { type ClaimTable, createClaimTable } from './claims.ts';
import { CommitQueue } from './commit-queue.ts';
import { instancesFolder, openStore, storeFile } from './data-folder.ts';
import { createEventTable, type EventTable } from './events.ts';
import { createExecutionTable, type ExecutionTable } from './executions.ts';
import { Instances } from './instances.ts';
import { createKeyStorage } from './key-storage.ts';
import { createPayerStorage } from './payer-storage.ts';
import { createQuotaTable, type QuotaTable } from './quotas.ts';
import { createReserve, type Reserve } from './reserve.ts';
import { createRetention, type Retention } from './retention.ts';
import { createSessionTable, type SessionTable } from './sessions.ts';
import { createStoreAccess, type StoreAccess } from './store-access.ts';
import { translateOpenError } from './translate-error.ts';

/**
 * Opens the embedded store `<dataDirectory>/store.sqlite`, and makes it when there is none. Several processes may
 * have it open at once. `dataDirectory` is an absolute path on a local file system.
 * @throws ServiceError `data_folder_unusable`, `storage_newer`, `storage_unavailable`
 */
export async function openSqliteStorage(options: { dataDirectory: string }): Promise<Storage> {
  const db = await openStore(options.dataDirectory);
  try {
    const file = storeFile(options.dataDirectory);
    const reserve = createReserve(options.dataDirectory);
    reserve.hold();
    const queue = new CommitQueue(db, { file, reserve });
    const access = createStoreAccess(db, { file, queue });
    const instances = new Instances(instancesFolder(options.dataDirectory));
    const executions = new SqliteExecutionStorage(db, { file, reserve, queue, access, instances });
    return Object.assign(executions, createKeyStorage(db, access), createPayerStorage(db, access, instances));
  } catch (error) {
    db.close();
    throw translateOpenError(error, storeFile(options.dataDirectory));
  }
}

interface StoreParts {
  file: string;
  reserve: Reserve;
  queue: CommitQueue;
  access: StoreAccess;
  instances: Instances;
}

class SqliteExecutionStorage implements ExecutionStorage {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #reserve: Reserve;
  readonly #queue: CommitQueue;
  readonly #access: StoreAccess;
  readonly #events: EventTable;
  readonly #executions: ExecutionTable;
  readonly #sessions: SessionTable;
  readonly #claims: ClaimTable;
  readonly #quotas: QuotaTable;
  readonly #audit: AuditTable;
  readonly #retention: Retention;
  readonly #instances: Instances;
  readonly #countProbe: StatementSync;

  constructor(db: DatabaseSync, { file, reserve, queue, access, instances }: StoreParts) {
    this.#db = db;
    this.#file = file;
    this.#reserve = reserve;
    this.#queue = queue;
    this.#access = access;
    this.#instances = instances;
    this.#events = createEventTable(db);
    this.#executions = createExecutionTable(db, this.#events);
    this.#sessions = createSessionTable(db);
    this.#claims = createClaimTable(db, (instanceId) => instances.alive(instanceId));
    this.#quotas = createQuotaTable(db);
    this.#audit = createAuditTable(db);
    this.#retention = createRetention(db, { queue, events: this.#events, sessions: this.#sessions });
    this.#countProbe = db.prepare('UPDATE probe SET writes = writes + 1 WHERE id = 1');
  }

  createExecution(
    record: ExecutionRecord,
    first: StoredEvent,
    { session, quotas = [], audit }: CreatedWith = {},
  ): Promise<Creation> {
    const { id, createdAt } = record.execution;
    return this.#access.write(() => {
      const outcome = this.#executions.create(record, first, () => {
        if (quotas.length === 0) return;
        const bytes = Buffer.byteLength(JSON.stringify(record.request));
        this.#quotas.start(quotas, { id, at: Date.parse(createdAt), bytes });
      });
      if (outcome.created && session !== undefined) this.#sessions.put(session);
      if (!outcome.created || audit === undefined) return outcome;
      this.#audit.append([audit]);
      return { ...outcome, audited: true };
    });
  }

  getExecution(tenant: Tenant, id: string): Promise<ExecutionRecord | undefined> {
    return this.#access.read(() => this.#executions.get(tenant, id));
  }

  readExecution(tenant: Tenant, id: string): Promise<{ state: Execution['state']; json: string } | undefined> {
    return this.#access.read(() => this.#executions.read(tenant, id));
  }

  findByKey(tenant: Tenant, key: string): Promise<ExecutionRecord | undefined> {
    return this.#access.read(() => this.#executions.findByKey(tenant, key));
  }

  listExecutions(filter: ExecutionFilter): Promise<{ executions: Execution[]; nextCursor: string | null }> {
    return this.#access.read(() => this.#executions.list(filter));
  }

  listUnfinished(): Promise<UnfinishedExecution[]> {
    return this.#access.read(() => this.#executions.listUnfinished());
  }

  append(append: Append): Promise<void> {
    const finishes = append.events.some((event) => event.type === 'execution.finished');
    return this.#access.write(() => this.#append(append, finishes), { mayUseReserve: finishes });
  }

  updateExecution(id: string, fence: number, execution: Execution): Promise<void> {
    return this.append({ executionId: id, fence, events: [], execution });
  }

  takeOver(id: string, fence: number, instanceId: string): Promise<ExecutionRecord | undefined> {
    return this.#access.write(() => this.#executions.takeOver(id, fence, instanceId));
  }

  readEvents(id: string, options: { after: number; limit: number; maxBytes: number }): Promise<EventPage> {
    return this.#access.read(() => this.#events.page(id, options));
  }

  deleteExecution(tenant: Tenant, id: string): Promise<Removal> {
    return this.#access.read(() => this.#retention.deleteExecution(tenant, id));
  }

  putSession(session: SessionRecord): Promise<void> {
    return this.#access.write(() => this.#sessions.put(session));
  }

  getSession(tenant: Tenant, id: string): Promise<SessionRecord | undefined> {
    return this.#access.read(() => this.#sessions.get(tenant, id));
  }

  claim(keys: readonly string[], holder: { executionId: string; instanceId: string }): Promise<string | undefined> {
    return this.#access.write(() => this.#claims.take(keys, holder));
  }

  releaseClaims(executionId: string): Promise<void> {
    return this.#access.write(() => this.#claims.release(executionId));
  }

  registerInstance(instanceId: string): Promise<void> {
    return this.#access.read(() => this.#instances.register(instanceId));
  }

  instanceAlive(instanceId: string): Promise<boolean> {
    return this.#access.read(() => this.#instances.alive(instanceId));
  }

  appendAudit(drafts: readonly AuditDraft[]): Promise<void> {
    return this.#access.write(() => this.#audit.append(drafts));
  }

  readAudit(options: { after: number; limit: number }): Promise<AuditSlice> {
    return this.#access.read(() => this.#audit.read(options));
  }

  takeBytes(quotas: readonly Quota[], bytes: number): Promise<void> {
    return this.#access.write(() => this.#quotas.takeBytes(quotas, { bytes, at: Date.now() }));
  }

  async applyRetention(limits: RetentionLimits): Promise<RetentionReport> {
    await this.#access.write(() => this.#quotas.prune(Date.now()));
    const { auditBefore } = limits;
    if (auditBefore !== undefined) while (await this.#access.write(() => this.#audit.cut(auditBefore)));
    return this.#access.read(() => this.#retention.apply(limits));
  }

  async probe(): Promise<void> {
    await this.#access.write(() => this.#countProbe.run());
    if (!(await this.#access.read(() => this.#reserve.hold()))) {
      const message = `The disk of ${this.#file} is full: there is no room for the 1 MiB that is held back for the end of runs. Free disk space.`;
      throw new ServiceError('storage_unavailable', message);
    }
  }

  async close(): Promise<void> {
    if (this.#db.isOpen) {
      this.#queue.close();
      this.#instances.close();
      this.#db.close();
    }
  }

  #append({ executionId, fence, events, execution }: Append, finishes: boolean): void {
    const { log, lastSeq } = this.#executions.writable(executionId, fence);
    refuseGap(events, { executionId, lastSeq });
    if (finishes !== (execution?.state === 'finished') || (finishes && events.at(-1)?.type !== 'execution.finished')) {
      throw new Error('the last event, execution.finished, and the finished record are stored together or not at all');
    }
    if (events.length > 0) {
      this.#events.append(log, events);
    }
    if (execution !== undefined) {
      this.#executions.setDocument(log, execution);
    }
  }
}

function refuseGap(events: readonly StoredEvent[], log: { executionId: string; lastSeq: number }): void {
  for (const [index, event] of events.entries()) {
    const expected = log.lastSeq + 1 + index;
    if (event.seq !== expected) {
      const message = `Execution ${log.executionId} takes event ${expected} next; event ${event.seq} is refused.`;
      throw new ServiceError('stale_writer', message);
    }
  }
}
