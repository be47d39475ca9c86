import type { DatabaseSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ServiceError } from '../../protocol/errors.ts';
import type { Removal, RetentionLimits, RetentionReport, Tenant } from '../storage.ts';
import type { CommitQueue } from './commit-queue.ts';
import type { EventTable } from './events.ts';
import { integer, type Row, text } from './rows.ts';
import type { SessionTable } from './sessions.ts';

/** One transaction removes at most so many rows, so that a log of a million events stops nobody for long. */
const CUT_ROWS = 2_000;

const REMOVED = 'log, id, tenant, session_id, directory, fresh';

export interface Retention {
  apply(limits: RetentionLimits): Promise<RetentionReport>;
  /** @throws ServiceError `not_found`, `conflict` when it has not finished */
  deleteExecution(tenant: Tenant, id: string): Promise<Removal>;
}

interface Parts {
  queue: CommitQueue;
  events: EventTable;
  sessions: SessionTable;
}

/**
 * Every step is one small transaction that leaves each log whole, so a crash in between loses no more than was meant
 * to go, and the next call goes on.
 */
export function createRetention(db: DatabaseSync, { queue, events, sessions }: Parts): Retention {
  const find = db.prepare(`SELECT ${REMOVED}, state FROM executions WHERE id = ? AND tenant = ?`);
  const expiredLogs = db.prepare(`SELECT log, id FROM executions
    WHERE finished_at < ? AND first_seq < last_seq ORDER BY finished_at, id`);
  const expiredRecords = db.prepare(`SELECT ${REMOVED} FROM executions
    WHERE finished_at < ? ORDER BY finished_at, id`);
  const total = db.prepare('SELECT sum(log_bytes) AS bytes FROM executions');
  const oldest = db.prepare(`SELECT log, id FROM executions
    WHERE finished_at IS NOT NULL AND first_seq < last_seq ORDER BY finished_at, id LIMIT 1`);
  const removals = ['events', 'execution_documents', 'execution_requests', 'executions'].map((table) =>
    db.prepare(`DELETE FROM ${table} WHERE log = ?`),
  );
  const directoryUsed = db.prepare(`SELECT 1 FROM executions WHERE directory = :directory
    UNION ALL SELECT 1 FROM sessions WHERE directory = :directory LIMIT 1`);
  const dropEnvelopes = db.prepare(
    "UPDATE executions SET envelope = NULL WHERE envelope IS NOT NULL AND state = 'finished'",
  );
  const removeClaims = db.prepare('DELETE FROM claims WHERE execution_id = ?');

  const cutLog = async (log: number): Promise<void> => {
    while (await queue.submit(() => events.cut(log, CUT_ROWS))) {
      await nextTurn();
    }
  };
  const remove = async (log: number, id: string): Promise<void> => {
    await cutLog(log);
    await queue.submit(() => {
      for (const removal of removals) {
        removal.run(log);
      }
      removeClaims.run(id);
    });
  };
  const removeAll = async (rows: Row[]): Promise<Removal> => {
    for (const row of rows) {
      await remove(integer(row, 'log'), text(row, 'id'));
    }
    return queue.submit(() => {
      const unused = rows.flatMap((row) => {
        const session = row.session_id;
        return typeof session === 'string' ? (sessions.removeUnused(text(row, 'tenant'), session) ?? []) : [];
      });
      const fresh = rows.filter((row) => integer(row, 'fresh') === 1);
      const directories = new Set(fresh.map((row) => text(row, 'directory')));
      return {
        executions: rows.map((row) => text(row, 'id')),
        directories: [...directories].filter((directory) => directoryUsed.get({ directory }) === undefined),
        sessions: unused,
      };
    });
  };

  return {
    async apply(limits): Promise<RetentionReport> {
      // An older program on the same store ends an execution without knowing of its envelope.
      await queue.submit(() => dropEnvelopes.run());
      const removed = await removeAll(expiredRecords.all(limits.recordsFinishedBefore));
      const cutLogs: string[] = [];
      for (const row of expiredLogs.all(limits.logsFinishedBefore)) {
        await cutLog(integer(row, 'log'));
        cutLogs.push(text(row, 'id'));
      }
      while (integer(total.get(), 'bytes') > limits.maxLogBytes) {
        const row = oldest.get();
        if (row === undefined) {
          break;
        }
        await cutLog(integer(row, 'log'));
        cutLogs.push(text(row, 'id'));
      }
      return { cutLogs, ...removed };
    },
    async deleteExecution(tenant, id): Promise<Removal> {
      const row = find.get(id, tenant);
      if (row === undefined) {
        throw new ServiceError('not_found', `There is no execution ${id}.`);
      }
      if (text(row, 'state') !== 'finished') {
        const message = `Execution ${id} is ${text(row, 'state')}; cancel it before it is deleted.`;
        throw new ServiceError('conflict', message, { data: { state: text(row, 'state') } });
      }
      return removeAll([row]);
    },
  };
}
