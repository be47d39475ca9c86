import { describe, expect, test } from 'vitest';
import { type AuditActor, auditDraft } from '../../src/audit/audit-draft.ts';
import { type AuditDraft, type AuditSlice, CHAIN_START, verifyChain } from '../../src/protocol/audit.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { eventOf, recordOf } from './execution-records.ts';

const NO_LIMITS = {
  logsFinishedBefore: '2000-01-01T00:00:00.000Z',
  recordsFinishedBefore: '2000-01-01T00:00:00.000Z',
  maxLogBytes: Number.MAX_SAFE_INTEGER,
};

/** What every adapter does with the audit log; `connect` opens one more to the same store. */
export function describeAudit(adapter: string, storage: () => Storage, connect: () => Promise<Storage>): void {
  const draft = (subject: string, day = 1, actor: AuditActor = { tenant: 'local', keyId: 'key-a' }): AuditDraft => ({
    ...auditDraft(actor, { action: 'execution.cancel', subject }),
    time: `2030-01-0${day}T00:00:00.000Z`,
  });
  const all = (): Promise<AuditSlice> => storage().readAudit({ after: 0, limit: 1_000 });
  const subjects = ({ texts }: AuditSlice): unknown[] => texts.map((text) => JSON.parse(text).subject);

  describe(`${adapter}: the audit log`, () => {
    test('an empty one has its start for an end', async () => {
      expect(await all()).toEqual({ texts: [], last: CHAIN_START, cut: CHAIN_START });
    });

    test('entries are chained in order, and read after any of them', async () => {
      await storage().appendAudit([draft('a'), draft('b')]);
      await storage().appendAudit([draft('c')]);
      const log = await all();
      expect(subjects(log)).toEqual(['a', 'b', 'c']);
      expect(await verifyChain(log.texts, CHAIN_START)).toEqual({ entries: 3, last: log.last });
      expect(subjects(await storage().readAudit({ after: 1, limit: 1 }))).toEqual(['b']);
      expect(await (await connect()).readAudit({ after: 3, limit: 10 })).toMatchObject({ texts: [], last: log.last });
    });

    test('of writers at once over two connections, each entry has one place in one chain', async () => {
      const connections = [storage(), await connect()];
      const writes = Array.from({ length: 20 }, (_, index) => connections[index % 2]?.appendAudit([draft(`${index}`)]));
      await Promise.all(writes);
      const log = await all();
      expect(await verifyChain(log.texts, CHAIN_START)).toEqual({ entries: 20, last: log.last });
      expect(new Set(subjects(log)).size).toBe(20);
    });

    test('retention cuts it from the front, and the chain goes on from the last one that was removed', async () => {
      await storage().appendAudit([draft('a', 1), draft('b', 2), draft('late', 1), draft('c', 3)]);
      await storage().applyRetention({ ...NO_LIMITS, auditBefore: '2030-01-02T00:00:00.000Z' });
      expect(subjects(await all())).toEqual(['b', 'late', 'c']);
      await storage().applyRetention({ ...NO_LIMITS, auditBefore: '2030-01-03T00:00:00.000Z' });
      const log = await all();
      expect(subjects(log)).toEqual(['c']);
      expect(log.cut.seq).toBe(3);
      expect(await verifyChain(log.texts, log.cut)).toEqual({ entries: 1, last: log.last });
      await storage().applyRetention({ ...NO_LIMITS, auditBefore: '2030-01-09T00:00:00.000Z' });
      expect(await all()).toEqual({ texts: [], last: log.last, cut: log.last });
      await storage().appendAudit([draft('d', 9)]);
      expect(await verifyChain((await all()).texts, log.last)).toMatchObject({ entries: 1 });
    });

    test('the entry of a start is stored with it, or said not to be, and never for a repeated submit', async () => {
      const submit = () =>
        storage().createExecution(recordOf({ idempotencyKey: 'k' }), eventOf(1), { audit: draft('a') });
      const { created, audited = false } = await submit();
      expect(created).toBe(true);
      expect(subjects(await all())).toEqual(audited ? ['a'] : []);
      expect((await submit()).audited).toBeUndefined();
      expect(subjects(await all())).toEqual(audited ? ['a'] : []);
    });
  });
}
