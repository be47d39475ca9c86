import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { AuditDraft, AuditSlice } from '../../protocol/audit.ts';
import { ServiceError } from '../../protocol/errors.ts';
import type { StoredEvent } from '../../protocol/events.ts';
import type { Execution } from '../../protocol/execution.ts';
import type { BareKey, KeyRecord, UsedKey } from '../key-storage.ts';
import type { InstanceNote, SpendAnswer, SpendReservation, SpendTotals } from '../payer-storage.ts';
import type { Quota } from '../quota.ts';
import type {
  Append,
  CreatedWith,
  Creation,
  EventPage,
  ExecutionFilter,
  ExecutionRecord,
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
import { createKeyTable, type KeyTable } from './keys.ts';
import { createQuotaTable, type QuotaTable } from './quotas.ts';
import { createReserve, type Reserve } from './reserve.ts';
import { createRetention, type Retention } from './retention.ts';
import { createSecretTable, type SecretTable } from './secrets.ts';
import { createServiceValueTable, type ServiceValueTable } from './service-values.ts';
import { createSessionTable, type SessionTable } from './sessions.ts';
import { createSpendTable, type SpendTable } from './spend.ts';
import { translateError, translateOpenError } from './translate-error.ts';

/**
 * Opens the embedded store `<dataDirectory>/store.sqlite`, and makes it when there is none. Several processes may
 * have it open at once. `dataDirectory` is an absolute path on a local file system.
 * @throws ServiceError `data_folder_unusable`, `storage_newer`, `storage_unavailable`
 */
export async function openSqliteStorage(options: { dataDirectory: string }): Promise<Storage> {
  const db = await openStore(options.dataDirectory);
  try {
    const reserve = createReserve(options.dataDirectory);
    reserve.hold();
    return new SqliteStorage(db, { dataDirectory: options.dataDirectory, reserve });
  } catch (error) {
    db.close();
    throw translateOpenError(error, storeFile(options.dataDirectory));
  }
}

class SqliteStorage implements Storage {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #reserve: Reserve;
  readonly #queue: CommitQueue;
  readonly #events: EventTable;
  readonly #executions: ExecutionTable;
  readonly #sessions: SessionTable;
  readonly #claims: ClaimTable;
  readonly #keys: KeyTable;
  readonly #secrets: SecretTable;
  readonly #spend: SpendTable;
  readonly #values: ServiceValueTable;
  readonly #quotas: QuotaTable;
  readonly #audit: AuditTable;
  readonly #retention: Retention;
  readonly #instances: Instances;
  readonly #countProbe: StatementSync;

  constructor(db: DatabaseSync, options: { dataDirectory: string; reserve: Reserve }) {
    this.#db = db;
    this.#file = storeFile(options.dataDirectory);
    this.#reserve = options.reserve;
    this.#queue = new CommitQueue(db, { file: this.#file, reserve: options.reserve });
    this.#instances = new Instances(instancesFolder(options.dataDirectory));
    this.#events = createEventTable(db);
    this.#executions = createExecutionTable(db, this.#events);
    this.#sessions = createSessionTable(db);
    this.#claims = createClaimTable(db, (instanceId) => this.#instances.alive(instanceId));
    this.#keys = createKeyTable(db);
    this.#secrets = createSecretTable(db);
    this.#spend = createSpendTable(db);
    this.#values = createServiceValueTable(db);
    this.#quotas = createQuotaTable(db);
    this.#audit = createAuditTable(db);
    this.#retention = createRetention(db, { queue: this.#queue, events: this.#events, sessions: this.#sessions });
    this.#countProbe = db.prepare('UPDATE probe SET writes = writes + 1 WHERE id = 1');
  }

  createExecution(
    record: ExecutionRecord,
    first: StoredEvent,
    { session, quotas = [], audit }: CreatedWith = {},
  ): Promise<Creation> {
    const { id, createdAt } = record.execution;
    return this.#queue.submit(() => {
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

  async getExecution(tenant: Tenant, id: string): Promise<ExecutionRecord | undefined> {
    return this.#read(() => this.#executions.get(tenant, id));
  }

  async readExecution(tenant: Tenant, id: string): Promise<{ state: Execution['state']; json: string } | undefined> {
    return this.#read(() => this.#executions.read(tenant, id));
  }

  async findByKey(tenant: Tenant, key: string): Promise<ExecutionRecord | undefined> {
    return this.#read(() => this.#executions.findByKey(tenant, key));
  }

  async listExecutions(filter: ExecutionFilter): Promise<{ executions: Execution[]; nextCursor: string | null }> {
    return this.#read(() => this.#executions.list(filter));
  }

  async listUnfinished(): Promise<UnfinishedExecution[]> {
    return this.#read(() => this.#executions.listUnfinished());
  }

  append(append: Append): Promise<void> {
    const finishes = append.events.some((event) => event.type === 'execution.finished');
    return this.#queue.submit(() => this.#append(append, finishes), { mayUseReserve: finishes });
  }

  updateExecution(id: string, fence: number, execution: Execution): Promise<void> {
    return this.append({ executionId: id, fence, events: [], execution });
  }

  takeOver(id: string, fence: number, instanceId: string): Promise<ExecutionRecord | undefined> {
    return this.#queue.submit(() => this.#executions.takeOver(id, fence, instanceId));
  }

  async readEvents(id: string, options: { after: number; limit: number; maxBytes: number }): Promise<EventPage> {
    return this.#read(() => this.#events.page(id, options));
  }

  async deleteExecution(tenant: Tenant, id: string): Promise<Removal> {
    return this.#read(() => this.#retention.deleteExecution(tenant, id));
  }

  putSession(session: SessionRecord): Promise<void> {
    return this.#queue.submit(() => this.#sessions.put(session));
  }

  async getSession(tenant: Tenant, id: string): Promise<SessionRecord | undefined> {
    return this.#read(() => this.#sessions.get(tenant, id));
  }

  claim(keys: readonly string[], holder: { executionId: string; instanceId: string }): Promise<string | undefined> {
    return this.#queue.submit(() => this.#claims.take(keys, holder));
  }

  releaseClaims(executionId: string): Promise<void> {
    return this.#queue.submit(() => this.#claims.release(executionId));
  }

  async registerInstance(instanceId: string): Promise<void> {
    this.#read(() => this.#instances.register(instanceId));
  }

  async instanceAlive(instanceId: string): Promise<boolean> {
    return this.#read(() => this.#instances.alive(instanceId));
  }

  addFirstKey(key: BareKey): Promise<boolean> {
    return this.#queue.submit(() => this.#keys.addFirst(key));
  }

  replaceKeys(key: BareKey): Promise<void> {
    return this.#queue.submit(() => this.#keys.replaceAll(key));
  }

  addKey(key: KeyRecord): Promise<void> {
    return this.#queue.submit(() => this.#keys.add(key));
  }

  changeKey(before: KeyRecord, after: KeyRecord): Promise<boolean> {
    return this.#queue.submit(() => this.#keys.change(before, after));
  }

  async getKey(id: string): Promise<KeyRecord | undefined> {
    return this.#read(() => this.#keys.get(id));
  }

  reserveSpend(reservation: SpendReservation): Promise<SpendAnswer> {
    return this.#queue.submit(() => this.#spend.reserve(reservation));
  }

  settleSpend(id: string, microUsd: number): Promise<void> {
    return this.#queue.submit(() => this.#spend.settle(id, microUsd));
  }

  async readSpend(day: string, counter: string): Promise<SpendTotals> {
    return this.#read(() => this.#spend.read(day, counter));
  }

  keepValue(name: string, value: string): Promise<string> {
    return this.#queue.submit(() => this.#values.keep(name, value));
  }

  replaceValue(name: string, value: string | undefined): Promise<void> {
    return this.#queue.submit(() => this.#values.replace(name, value));
  }

  async getValue(name: string): Promise<string | undefined> {
    return this.#read(() => this.#values.get(name));
  }

  publishNote(note: InstanceNote): Promise<void> {
    return this.#queue.submit(() => this.#values.publish(note));
  }

  listNotes(): Promise<InstanceNote[]> {
    return this.#queue.submit(() => this.#values.notes((instanceId) => this.#instances.alive(instanceId)));
  }

  async listKeys(tenant: string | undefined): Promise<UsedKey[]> {
    return this.#read(() => this.#keys.list(tenant));
  }

  removeKeys(ids: readonly string[]): Promise<void> {
    return this.#queue.submit(() => this.#keys.remove(ids));
  }

  noteKeyUse(id: string, at: string): Promise<void> {
    return this.#queue.submit(() => this.#keys.noteUse(id, at));
  }

  denyToken(tenant: Tenant, tokenId: string, until: number): Promise<void> {
    return this.#queue.submit(() => this.#secrets.deny(tenant, tokenId, until));
  }

  async isTokenDenied(tenant: Tenant, tokenId: string): Promise<boolean> {
    return this.#read(() => this.#secrets.isDenied(tenant, tokenId));
  }

  keepSecret(name: string, secret: string): Promise<string> {
    return this.#queue.submit(() => this.#secrets.keep(name, secret));
  }

  appendAudit(drafts: readonly AuditDraft[]): Promise<void> {
    return this.#queue.submit(() => this.#audit.append(drafts));
  }

  async readAudit(options: { after: number; limit: number }): Promise<AuditSlice> {
    return this.#read(() => this.#audit.read(options));
  }

  takeBytes(quotas: readonly Quota[], bytes: number): Promise<void> {
    return this.#queue.submit(() => this.#quotas.takeBytes(quotas, { bytes, at: Date.now() }));
  }

  async applyRetention(limits: RetentionLimits): Promise<RetentionReport> {
    await this.#queue.submit(() => this.#quotas.prune(Date.now()));
    const { auditBefore } = limits;
    if (auditBefore !== undefined) while (await this.#queue.submit(() => this.#audit.cut(auditBefore)));
    return this.#read(() => this.#retention.apply(limits));
  }

  async probe(): Promise<void> {
    await this.#queue.submit(() => this.#countProbe.run());
    if (!this.#read(() => this.#reserve.hold())) {
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

  #read<T>(read: () => T): T {
    if (!this.#db.isOpen) {
      throw new ServiceError('storage_unavailable', `The store ${this.#file} is closed.`);
    }
    try {
      return read();
    } catch (error) {
      throw translateError(error, this.#file);
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
