import type { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { SPEND_KEPT_DAYS, type SpendAnswer, type SpendReservation, type SpendTotals } from '../payer-storage.ts';
import { integer, type Row, text } from './rows.ts';

const DAY_MS = 24 * 3600 * 1000;
const Names = z.array(z.string());

export interface SpendTable {
  reserve(reservation: SpendReservation): SpendAnswer;
  settle(id: string, microUsd: number): void;
  read(day: string, name: string): SpendTotals;
}

/** A reservation whose time is over is booked as it stands; its row stays, with no `due`, for a late settlement. */
export function createSpendTable(db: DatabaseSync): SpendTable {
  const due = db.prepare('SELECT * FROM spend_reservations WHERE due <= ?');
  const bookAsItStands = db.prepare('UPDATE spend_reservations SET due = NULL WHERE id = ?');
  const forgetCounters = db.prepare('DELETE FROM spend_counters WHERE day < ?');
  const forgetReservations = db.prepare('DELETE FROM spend_reservations WHERE day < ?');
  const find = db.prepare('SELECT * FROM spend_reservations WHERE id = ?');
  const remove = db.prepare('DELETE FROM spend_reservations WHERE id = ?');
  const insert = db.prepare('INSERT INTO spend_reservations VALUES (?, ?, ?, ?, ?)');
  const totals = db.prepare('SELECT spent, reserved FROM spend_counters WHERE day = ? AND name = ?');
  const add = db.prepare(`INSERT INTO spend_counters VALUES (:day, :name, :spent, :reserved)
    ON CONFLICT DO UPDATE SET spent = spent + :spent, reserved = reserved + :reserved`);

  const read = (day: string, name: string): SpendTotals => {
    const row = totals.get(day, name);
    return { spentMicroUsd: integer(row, 'spent'), reservedMicroUsd: integer(row, 'reserved') };
  };
  const addAll = (row: Row, change: { spent: number; reserved: number }): void => {
    for (const name of Names.parse(JSON.parse(text(row, 'counters')))) {
      add.run({ day: text(row, 'day'), name, ...change });
    }
  };
  const bookWhatIsDue = (): void => {
    for (const row of due.all(Date.now())) {
      addAll(row, { spent: integer(row, 'amount'), reserved: -integer(row, 'amount') });
      bookAsItStands.run(text(row, 'id'));
    }
    const oldest = new Date(Date.now() - SPEND_KEPT_DAYS * DAY_MS).toISOString().slice(0, 10);
    forgetCounters.run(oldest);
    forgetReservations.run(oldest);
  };

  return {
    reserve({ id, day, microUsd, counters, holdMs }): SpendAnswer {
      bookWhatIsDue();
      for (const { name, limitMicroUsd = Number.POSITIVE_INFINITY } of counters) {
        const { spentMicroUsd, reservedMicroUsd } = read(day, name);
        if (spentMicroUsd >= limitMicroUsd) return { refusal: 'full', counter: name, spentMicroUsd };
        if (reservedMicroUsd > 0 && spentMicroUsd + reservedMicroUsd + microUsd > limitMicroUsd) {
          return { refusal: 'reserved', counter: name, spentMicroUsd };
        }
      }
      const names = counters.map(({ name }) => name);
      insert.run(id, day, microUsd, JSON.stringify(names), Date.now() + holdMs);
      for (const name of names) add.run({ day, name, spent: 0, reserved: microUsd });
      return 'reserved_here';
    },
    settle(id, microUsd): void {
      const row = find.get(id);
      if (row === undefined) return;
      const amount = integer(row, 'amount');
      const booked = row.due === null;
      addAll(row, booked ? { spent: microUsd - amount, reserved: 0 } : { spent: microUsd, reserved: -amount });
      remove.run(id);
    },
    read,
  };
}
