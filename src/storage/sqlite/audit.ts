import type { DatabaseSync } from 'node:sqlite';
import { type AuditDraft, type AuditSlice, type ChainLink, chainEntries } from '../../protocol/audit.ts';
import { integer, type Row, text } from './rows.ts';

const MAX_SLICE_BYTES = 8 * 1024 * 1024;
/** One transaction removes at most so many rows. */
const CUT_ROWS = 2_000;

export interface AuditTable {
  /** Inside the transaction of what they tell of, so that neither is stored without the other. */
  append(drafts: readonly AuditDraft[]): void;
  read(options: { after: number; limit: number }): AuditSlice;
  /** Removes the oldest entries from before a time; whether there may be more. */
  cut(before: string): boolean;
}

export function createAuditTable(db: DatabaseSync): AuditTable {
  const newest = db.prepare('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1');
  const cutLink = db.prepare('SELECT seq, hash FROM audit_cut');
  const add = db.prepare('INSERT INTO audit VALUES (?, ?, ?, ?)');
  const slice = db.prepare('SELECT bytes FROM audit WHERE seq > ? ORDER BY seq LIMIT ?');
  /** The first that stays ends what goes: times may run backwards, a chain may not. */
  const firstKept = db.prepare('SELECT seq FROM audit WHERE time >= ? ORDER BY seq LIMIT 1');
  const linkAt = db.prepare('SELECT seq, hash FROM audit WHERE seq = ?');
  const moveCut = db.prepare('UPDATE audit_cut SET seq = ?, hash = ?');
  const remove = db.prepare('DELETE FROM audit WHERE seq <= ?');

  const cut = (): ChainLink => linkOf(cutLink.get());
  const last = (): ChainLink => {
    const row = newest.get();
    return row === undefined ? cut() : linkOf(row);
  };

  return {
    append(drafts): void {
      const { lines } = chainEntries(drafts, last());
      for (const [index, { seq, text: bytes, hash }] of lines.entries()) {
        add.run(seq, drafts[index]?.time ?? '', bytes, hash);
      }
    },
    read({ after, limit }): AuditSlice {
      const texts: string[] = [];
      let bytes = 0;
      for (const row of slice.iterate(after, limit)) {
        bytes += text(row, 'bytes').length;
        if (bytes > MAX_SLICE_BYTES && texts.length > 0) break;
        texts.push(text(row, 'bytes'));
      }
      return { texts, last: last(), cut: cut() };
    },
    cut(before): boolean {
      const { seq: start } = cut();
      const kept = firstKept.get(before)?.seq;
      const end = typeof kept === 'number' ? kept - 1 : last().seq;
      const upTo = Math.min(end, start + CUT_ROWS);
      const link = linkAt.get(upTo);
      if (upTo <= start || link === undefined) return false;
      moveCut.run(upTo, text(link, 'hash'));
      remove.run(upTo);
      return upTo < end;
    },
  };
}

function linkOf(row: Row | undefined): ChainLink {
  if (row === undefined) throw new Error('the audit log of the store has lost its beginning');
  return { seq: integer(row, 'seq'), hash: text(row, 'hash') };
}
