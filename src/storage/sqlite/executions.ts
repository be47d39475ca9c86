import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { ServiceError } from '../../protocol/errors.ts';
import type { StoredEvent } from '../../protocol/events.ts';
import type { Execution } from '../../protocol/execution.ts';
import { StateWord } from '../../protocol/execution-document.ts';
import type { ExecutionFilter, ExecutionRecord, Tenant, UnfinishedExecution } from '../storage.ts';
import type { EventTable } from './events.ts';
import { COLUMNS, FROM, toExecution, toRecord } from './record-rows.ts';
import { integer, type Row, text } from './rows.ts';

/** One page of executions, each of which may carry some megabytes of text. */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;

export interface ExecutionTable {
  /** `admit` is called when it is new, and may refuse it by throwing. */
  create(record: ExecutionRecord, first: StoredEvent, admit: () => void): { created: boolean; record: ExecutionRecord };
  get(tenant: Tenant, id: string): ExecutionRecord | undefined;
  read(tenant: Tenant, id: string): { state: Execution['state']; json: string } | undefined;
  findByKey(tenant: Tenant, key: string): ExecutionRecord | undefined;
  list(filter: ExecutionFilter): { executions: Execution[]; nextCursor: string | null };
  listUnfinished(): UnfinishedExecution[];
  /**
   * The short key and `last_seq` of an execution that this writer may write.
   * @throws ServiceError `not_found`, `stale_writer`
   */
  writable(id: string, fence: number): { log: number; lastSeq: number };
  /** Stores the public part, and the columns that follow from it. */
  setDocument(log: number, execution: Execution): void;
  takeOver(id: string, fence: number, instanceId: string): ExecutionRecord | undefined;
}

export function createExecutionTable(db: DatabaseSync, events: EventTable): ExecutionTable {
  const insert = db.prepare(`INSERT INTO executions (id, tenant, idempotency_key, state, outcome, session_id, workspace,
    directory, fresh, run_id, instance_id, fence, request_hash, created_at, key_id, envelope, finished_at, first_seq, last_seq, log_bytes)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, 1, 0, 0) RETURNING log`);
  const insertDocument = db.prepare('INSERT INTO execution_documents VALUES (?, ?)');
  const insertRequest = db.prepare('INSERT INTO execution_requests VALUES (?, ?)');
  const byId = db.prepare(`SELECT ${COLUMNS} ${FROM} WHERE e.id = ?`);
  const byTenantAndId = db.prepare(`SELECT ${COLUMNS} ${FROM} WHERE e.id = ? AND e.tenant = ?`);
  const document = db.prepare(`SELECT e.state, d.execution FROM executions e JOIN execution_documents d USING (log)
    WHERE e.id = ? AND e.tenant = ?`);
  const byKey = db.prepare(`SELECT ${COLUMNS} ${FROM} WHERE e.tenant = ? AND e.idempotency_key = ?`);
  const exists = db.prepare('SELECT 1 FROM executions WHERE id = ?');
  const unfinished = db.prepare(`SELECT tenant, id, state, instance_id, fence FROM executions
    WHERE state <> 'finished' ORDER BY id`);
  const list = listStatements(db);
  const fenced = db.prepare('SELECT log, fence, state, last_seq FROM executions WHERE id = ?');
  const update =
    db.prepare(`UPDATE executions SET state = ?, outcome = ?, session_id = coalesce(?, session_id), workspace = ?, finished_at = ?,
    envelope = CASE ? WHEN 'finished' THEN NULL ELSE envelope END WHERE log = ?`);
  const updateDocument = db.prepare('UPDATE execution_documents SET execution = ? WHERE log = ?');
  const takeOver = db.prepare(`UPDATE executions SET instance_id = ?, fence = fence + 1
    WHERE id = ? AND fence = ? AND state <> 'finished'`);

  return {
    create(record, first, admit): { created: boolean; record: ExecutionRecord } {
      const { execution, request, tenant } = record;
      const key = request.idempotencyKey ?? null;
      const earlier = key === null ? undefined : byKey.get(tenant, key);
      if (earlier !== undefined) {
        return { created: false, record: toRecord(earlier) };
      }
      if (first.seq !== 1 || execution.state === 'finished') {
        throw new Error('an execution starts unfinished, with event 1');
      }
      if (exists.get(execution.id) !== undefined) {
        throw new ServiceError('conflict', `There is an execution ${execution.id} already.`);
      }
      admit();
      const sessionId = execution.sessionId ?? request.sessionId ?? null;
      const row = insert.get(
        ...[execution.id, tenant, key, execution.state, null, sessionId, execution.workspace, record.directory],
        ...[
          Number(record.fresh),
          record.runId,
          record.instanceId,
          record.fence,
          record.requestHash,
          execution.createdAt,
        ],
        ...[record.keyId, record.envelope ?? null],
      );
      const log = integer(row, 'log');
      insertDocument.run(log, JSON.stringify(execution));
      insertRequest.run(log, JSON.stringify(request));
      events.append(log, [first]);
      return { created: true, record: { ...record, execution: { ...execution, lastSeq: 1 } } };
    },
    get(tenant, id): ExecutionRecord | undefined {
      return optionalRecord(byTenantAndId.get(id, tenant));
    },
    read(tenant, id): { state: Execution['state']; json: string } | undefined {
      const row = document.get(id, tenant);
      return row === undefined
        ? undefined
        : { state: StateWord.parse(text(row, 'state')), json: text(row, 'execution') };
    },
    findByKey: (tenant, key) => optionalRecord(byKey.get(tenant, key)),
    list(filter): { executions: Execution[]; nextCursor: string | null } {
      const executions: Execution[] = [];
      let bytes = 0;
      for (const row of list(filter).iterate(listParameters(filter))) {
        bytes += text(row, 'execution').length;
        const full = executions.length === filter.limit || bytes > MAX_PAGE_BYTES;
        if (full && executions.length > 0) return { executions, nextCursor: executions.at(-1)?.id ?? null };
        executions.push(toExecution(row));
      }
      return { executions, nextCursor: null };
    },
    listUnfinished(): UnfinishedExecution[] {
      return unfinished.all().map((row) => ({
        tenant: text(row, 'tenant'),
        id: text(row, 'id'),
        state: StateWord.parse(text(row, 'state')),
        instanceId: text(row, 'instance_id'),
        fence: integer(row, 'fence'),
      }));
    },
    writable(id, fence): { log: number; lastSeq: number } {
      const row = fenced.get(id);
      if (row === undefined) {
        throw new ServiceError('not_found', `There is no execution ${id}.`);
      }
      if (text(row, 'state') === 'finished') {
        throw new ServiceError('stale_writer', `Execution ${id} is finished; nothing can be added to it.`);
      }
      if (integer(row, 'fence') !== fence) {
        const message = `Execution ${id} belongs to writer ${integer(row, 'fence')}; writer ${fence} is refused.`;
        throw new ServiceError('stale_writer', message);
      }
      return { log: integer(row, 'log'), lastSeq: integer(row, 'last_seq') };
    },
    setDocument(log, execution): void {
      const finished = execution.state === 'finished';
      const finishedAt = finished ? (execution.finishedAt ?? new Date().toISOString()) : null;
      const { state, outcome, sessionId, workspace } = execution;
      update.run(state, outcome?.kind ?? null, sessionId, workspace, finishedAt, state, log);
      updateDocument.run(JSON.stringify(execution), log);
    },
    takeOver(id, fence, instanceId): ExecutionRecord | undefined {
      return takeOver.run(instanceId, id, fence).changes === 1 ? optionalRecord(byId.get(id)) : undefined;
    },
  };
}

/** One statement for every combination of filters, so that each uses the index made for it. */
function listStatements(db: DatabaseSync): (filter: ExecutionFilter) => StatementSync {
  const prepared = new Map<string, StatementSync>();
  return (filter) => {
    const where = [
      'e.tenant = :tenant',
      filter.state !== undefined && 'e.state = :state',
      filter.outcome !== undefined && 'e.outcome = :outcome',
      filter.sessionId !== undefined && 'e.session_id = :sessionId',
      filter.cursor !== undefined && 'e.id < :cursor',
    ].filter((condition) => condition !== false);
    const sql = `SELECT d.execution, e.last_seq FROM executions e JOIN execution_documents d USING (log)
      WHERE ${where.join(' AND ')} ORDER BY e.id DESC LIMIT :limit`;
    const statement = prepared.get(sql) ?? db.prepare(sql);
    prepared.set(sql, statement);
    return statement;
  };
}

function listParameters(filter: ExecutionFilter): Record<string, string | number> {
  const { limit, ...given } = filter;
  const parameters: Record<string, string | number> = { limit: limit + 1 };
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) {
      parameters[name] = value;
    }
  }
  return parameters;
}

function optionalRecord(row: Row | undefined): ExecutionRecord | undefined {
  return row === undefined ? undefined : toRecord(row);
}
