import type { DatabaseSync } from 'node:sqlite';
import { ServiceError } from '../../protocol/errors.ts';
import { isEventType, type StoredEvent } from '../../protocol/events.ts';
import type { EventPage } from '../storage.ts';
import { integer, type Row, text } from './rows.ts';

export interface EventTable {
  /** Adds events to a log; the caller has checked that they follow. */
  append(log: number, events: readonly StoredEvent[]): void;
  /** @throws ServiceError `not_found` */
  page(id: string, options: { after: number; limit: number; maxBytes: number }): EventPage;
  /**
   * Removes up to `limit` of the oldest events, never the last one, and says whether more of them are left. The log
   * is whole from its new first event on after every step.
   */
  cut(log: number, limit: number): boolean;
}

export function createEventTable(db: DatabaseSync): EventTable {
  const begin = db.prepare('BEGIN');
  const commit = db.prepare('COMMIT');
  const insert = db.prepare('INSERT INTO events (log, seq, type, bytes) VALUES (?, ?, ?, ?)');
  const grow = db.prepare('UPDATE executions SET last_seq = ?, log_bytes = log_bytes + ? WHERE log = ?');
  const range = db.prepare('SELECT log, first_seq, last_seq, state FROM executions WHERE id = ?');
  const read = db.prepare(`SELECT seq, type, bytes, octet_length(bytes) AS size FROM events
    WHERE log = ? AND seq > ? ORDER BY seq LIMIT ?`);
  const bounds = db.prepare('SELECT first_seq, last_seq FROM executions WHERE log = ?');
  const sizeBefore = db.prepare('SELECT sum(octet_length(bytes)) AS size FROM events WHERE log = ? AND seq < ?');
  const removeBefore = db.prepare('DELETE FROM events WHERE log = ? AND seq < ?');
  const shrink = db.prepare('UPDATE executions SET first_seq = ?, log_bytes = log_bytes - ? WHERE log = ?');

  const readPage = (id: string, options: { after: number; limit: number; maxBytes: number }): EventPage => {
    const row = range.get(id);
    if (row === undefined) {
      throw new ServiceError('not_found', `There is no execution ${id}.`);
    }
    const events: StoredEvent[] = [];
    let bytes = 0;
    for (const event of read.iterate(integer(row, 'log'), options.after, options.limit)) {
      bytes += integer(event, 'size');
      if (events.length > 0 && bytes > options.maxBytes) {
        break;
      }
      events.push(toEvent(event));
    }
    return {
      events,
      firstSeq: integer(row, 'first_seq'),
      lastSeq: integer(row, 'last_seq'),
      finished: text(row, 'state') === 'finished',
    };
  };

  return {
    append(log, events): void {
      let size = 0;
      let last = 0;
      for (const event of events) {
        insert.run(log, event.seq, event.type, event.bytes);
        size += Buffer.byteLength(event.bytes);
        last = event.seq;
      }
      grow.run(last, size, log);
    },
    page(id, options): EventPage {
      // One snapshot: else another process could add an event between the row that counts them and the events.
      begin.run();
      try {
        return readPage(id, options);
      } finally {
        if (db.isTransaction) {
          commit.run();
        }
      }
    },
    cut(log, limit): boolean {
      const row = bounds.get(log);
      const last = integer(row, 'last_seq');
      const first = Math.min(integer(row, 'first_seq') + limit, last);
      const size = integer(sizeBefore.get(log, first), 'size');
      removeBefore.run(log, first);
      shrink.run(first, size, log);
      return first < last;
    },
  };
}

function toEvent(row: Row): StoredEvent {
  const type = text(row, 'type');
  if (!isEventType(type)) {
    throw new Error('an event of the store has no type');
  }
  return { seq: integer(row, 'seq'), type, bytes: text(row, 'bytes') };
}
