import type { AuditDraft, AuditSlice } from '../protocol/audit.ts';
import type { StoredEvent } from '../protocol/events.ts';
import type { Execution } from '../protocol/execution.ts';
import type { ExecutionRequest } from '../protocol/execution-request.ts';
import type { KeyStorage } from './key-storage.ts';
import type { PayerStorage } from './payer-storage.ts';
import type { Quota } from './quota.ts';

/** Who owns a record; see `TenantName` in src/protocol/tenant.ts. */
export type Tenant = string;

/** An execution as it is stored: what callers see, and what the service needs beside it. */
export interface ExecutionRecord {
  tenant: Tenant;
  /** The key that asked for it, whose spend it counts to; null where there was none, or none was noted. */
  keyId: string | null;
  execution: Execution;
  request: ExecutionRequest;
  /** The absolute path of the directory the run works in. */
  directory: string;
  /** Whether that directory was made for one run and its session, and goes with the last record that names it. */
  fresh: boolean;
  /**
   * Names the run's folder and marks its processes. It differs from the execution's id where the process was started
   * before the execution was accepted.
   */
  runId: string;
  /** The service instance that owns the run; see `Storage.instanceAlive`. */
  instanceId: string;
  /** Grows by one whenever another instance takes the record over; a writer with an older fence is refused. */
  fence: number;
  /** SHA-256 of the canonical parsed request, to tell a repeated submit from a different one. */
  requestHash: string;
  /** The caller's own Claude credential, encrypted. The store drops it when the execution finishes. */
  envelope?: string | undefined;
}

/** What is looked at in all executions that have not finished: little, since there may be many with long prompts. */
export interface UnfinishedExecution {
  tenant: Tenant;
  id: string;
  state: Execution['state'];
  /** As in `ExecutionRecord`. */
  instanceId: string;
  fence: number;
}

/** What is stored together with a new execution, or looked at before it is. */
export interface CreatedWith {
  /** The session it belongs to. */
  session?: SessionRecord | undefined;
  /** Limits that it counts against; a repeated submit does not. */
  quotas?: readonly Quota[] | undefined;
  /** The entry that tells of it; stored where the answer says `audited`, which a store can that chains entries itself. */
  audit?: AuditDraft | undefined;
}

export interface Creation {
  created: boolean;
  record: ExecutionRecord;
  audited?: boolean;
}

/** One append: the events, and the record as it is once they are stored. Both are stored in one transaction. */
export interface Append {
  executionId: string;
  fence: number;
  events: readonly StoredEvent[];
  /** The record's new public part; `undefined` leaves it as it is. Its `lastSeq` is set by the storage. */
  execution?: Execution;
}

export interface EventPage {
  events: StoredEvent[];
  /** The first `seq` still stored, and the last; `first` is `last + 1` when none is. */
  firstSeq: number;
  lastSeq: number;
  finished: boolean;
}

export interface ExecutionFilter {
  tenant: Tenant;
  state?: Execution['state'] | undefined;
  outcome?: NonNullable<Execution['outcome']>['kind'] | undefined;
  sessionId?: string | undefined;
  /** A page holds fewer when it would be longer than about 8 MiB; `nextCursor` then goes on. */
  limit: number;
  /** The id after which the page starts; newest first. */
  cursor?: string | undefined;
}

/** A Claude conversation: where its config folder and its workspace are. */
export interface SessionRecord {
  id: string;
  tenant: Tenant;
  workspace: string;
  directory: string;
  /** As in `ExecutionRecord`. */
  fresh: boolean;
  configDirectory: string;
  createdAt: string;
  lastUsedAt: string;
}

export interface RetentionLimits {
  /** Logs of executions finished before this time (RFC 3339) are cut down to their last event. */
  logsFinishedBefore: string;
  /** Records finished before this time are removed altogether, with their sessions when nothing else uses them. */
  recordsFinishedBefore: string;
  /** Event bytes kept in all; the logs of the oldest finished executions are cut first. */
  maxLogBytes: number;
  /** Entries of the audit log from before this time are removed, from its front; none when left out. */
  auditBefore?: string;
}

/** Records that are gone. The folders are still there; what is named here is used by no other record. */
export interface Removal {
  executions: string[];
  /** Fresh workspaces. */
  directories: string[];
  sessions: SessionRecord[];
}

export interface RetentionReport extends Removal {
  cutLogs: string[];
}

/** The part of `Storage` about executions, their event logs and sessions, and what is done to them. */
export interface ExecutionStorage {
  /**
   * Stores a new execution with its first event, and the session it belongs to. With an idempotency key that the
   * tenant has used before, stores nothing and returns the record of that time.
   * @throws ServiceError `too_many`, `quota_exceeded` when a limit stands in the way; nothing is stored or counted then
   */
  createExecution(record: ExecutionRecord, first: StoredEvent, beside?: CreatedWith): Promise<Creation>;
  getExecution(tenant: Tenant, id: string): Promise<ExecutionRecord | undefined>;
  /**
   * The public part of a record as JSON, as it was last stored, for who passes it on. Once it has finished, it is what
   * `getExecution` gives; before, the log may be ahead of its `lastSeq`.
   */
  readExecution(tenant: Tenant, id: string): Promise<{ state: Execution['state']; json: string } | undefined>;
  /** The execution that an idempotency key was used for, if there is one. */
  findByKey(tenant: Tenant, key: string): Promise<ExecutionRecord | undefined>;
  listExecutions(filter: ExecutionFilter): Promise<{ executions: Execution[]; nextCursor: string | null }>;
  /** Executions of any tenant that have not finished, oldest first. */
  listUnfinished(): Promise<UnfinishedExecution[]>;
  /**
   * Appends events whose `seq` follow the stored ones without a gap.
   * @throws ServiceError `stale_writer` when the fence is old, the `seq` does not follow, or the execution is finished
   * (an append that holds `execution.finished` finishes it). That event is the last one and comes with the record in
   * state `finished`, and neither without the other.
   */
  append(append: Append): Promise<void>;
  /** Stores the record's public part alone, under the same fence rule. */
  updateExecution(id: string, fence: number, execution: Execution): Promise<void>;
  /** Makes `instanceId` the owner and raises the fence, if the fence is still `fence`; else `undefined`. */
  takeOver(id: string, fence: number, instanceId: string): Promise<ExecutionRecord | undefined>;
  /** Up to `limit` events after `after`, and at most about `maxBytes` of them (one is always returned). */
  readEvents(id: string, options: { after: number; limit: number; maxBytes: number }): Promise<EventPage>;
  /**
   * Removes a finished execution, its log, its idempotency key, and its session when nothing else uses it.
   * @throws ServiceError `not_found`, `conflict` when it has not finished
   */
  deleteExecution(tenant: Tenant, id: string): Promise<Removal>;

  putSession(session: SessionRecord): Promise<void>;
  getSession(tenant: Tenant, id: string): Promise<SessionRecord | undefined>;

  /**
   * Takes every key for an execution, or none: `undefined` when taken, else the id of the execution that holds one.
   * A claim is given back by `releaseClaims`, or falls to the next taker when its instance is dead.
   */
  claim(keys: readonly string[], holder: { executionId: string; instanceId: string }): Promise<string | undefined>;
  releaseClaims(executionId: string): Promise<void>;

  /** Announces this service instance; it counts as alive until the process ends or `close` is called. */
  registerInstance(instanceId: string): Promise<void>;
  instanceAlive(instanceId: string): Promise<boolean>;

  /**
   * Adds entries to the audit log, all or none, after all that are there. A batch whose fate nobody knows may be given
   * again as it was, before any other.
   */
  appendAudit(drafts: readonly AuditDraft[]): Promise<void>;
  /** Entries whose `seq` is above `after`; fewer than `limit` where they would be longer than about 8 MiB. */
  readAudit(options: { after: number; limit: number }): Promise<AuditSlice>;

  /**
   * Counts bytes that a caller sends against daily limits, all or none.
   * @throws ServiceError `quota_exceeded`
   */
  takeBytes(quotas: readonly Quota[], bytes: number): Promise<void>;
  /**
   * Counts one more wrong key of an address, and says how many there were within `windowMs` of the first. A store that
   * several machines share has it.
   */
  countWrongKey?(scope: string, windowMs: number): Promise<number>;

  applyRetention(limits: RetentionLimits): Promise<RetentionReport>;
  /**
   * Calls `onChange` with the id of an execution whose log has grown, whoever wrote to it; returns how to stop it. A
   * store that other machines write to has it. Some changes are not told (an outage): look by yourself now and then.
   */
  watch?(onChange: (executionId: string) => void): () => void;
  /** Proves that a write works, by doing one. */
  probe(): Promise<void>;
  close(): Promise<void>;
}

/**
 * What the service keeps. Two adapters pass one conformance suite. Every method is atomic and durable when its promise
 * resolves. All of them throw `ServiceError`: `storage_unavailable` (disk full, read-only, gone), `not_found`,
 * `stale_writer`.
 */
export interface Storage extends ExecutionStorage, KeyStorage, PayerStorage {}
