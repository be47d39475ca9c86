import { describe, expect, test } from 'vitest';
import { newId } from '../../src/protocol/ids.ts';
import type { ExecutionRecord, Storage } from '../../src/storage/storage.ts';
import { eventOf, finishOf, KEEP_ALL, type recordOf, sessionOf } from './execution-records.ts';

/** What the suite does with the store of the running test. */
export interface Hands {
  storage(): Storage;
  create(changes?: Parameters<typeof recordOf>[0]): Promise<ExecutionRecord>;
  appendTo(record: ExecutionRecord, from: number, to: number): Promise<void>;
  seqs(id: string): Promise<number[]>;
}

const ALL = { after: 0, limit: 1_000, maxBytes: 1024 * 1024 };

/** The part of the suite about sessions, and what is removed with what. */
export function describeRemoval(adapter: string, { storage: current, create, appendTo, seqs }: Hands): void {
  describe(`${adapter}: sessions, deletion, retention`, () => {
    test('a session is read back, replaced by its id, and hidden from other tenants', async () => {
      const id = newId();
      await current().putSession(sessionOf(id));
      expect(await current().getSession('local', id)).toEqual(sessionOf(id));
      const used = sessionOf(id, { lastUsedAt: '2030-02-01T00:00:00.000Z' });
      await current().putSession(used);
      expect(await current().getSession('local', id)).toEqual(used);
      expect(await current().getSession('other', id)).toBeUndefined();
    });

    test('a finished execution is deleted with its log, its key and its claims', async () => {
      const record = await create({ idempotencyKey: 'k' });
      const { id } = record.execution;
      await current().registerInstance('instance-a');
      await current().claim(['workspace:w'], { executionId: id, instanceId: 'instance-a' });
      await expect(current().deleteExecution('local', id)).rejects.toMatchObject({ code: 'conflict' });
      await current().append(finishOf(record, 2));
      await expect(current().deleteExecution('other', id)).rejects.toMatchObject({ code: 'not_found' });
      await current().deleteExecution('local', id);
      expect(await current().getExecution('local', id)).toBeUndefined();
      await expect(current().readEvents(id, ALL)).rejects.toMatchObject({ code: 'not_found' });
      const next = await create({ idempotencyKey: 'k' });
      expect(next.execution.id).not.toBe(id);
      const claim = { executionId: next.execution.id, instanceId: 'instance-a' };
      expect(await current().claim(['workspace:w'], claim)).toBeUndefined();
    });

    test('a fresh workspace goes with the last record and session that name it, a named one never', async () => {
      const fresh = { fresh: true, directory: '/workspaces/fresh' };
      const session = newId();
      const first = await create({ ...fresh, execution: { sessionId: session } });
      await current().putSession(sessionOf(session, fresh));
      const second = await create({ ...fresh, execution: { sessionId: session } });
      const named = await create();
      for (const record of [first, second, named]) await current().append(finishOf(record, 2));
      const remove = ({ execution }: ExecutionRecord) => current().deleteExecution('local', execution.id);
      expect(await remove(named)).toEqual({ executions: [named.execution.id], directories: [], sessions: [] });
      expect(await remove(first)).toEqual({ executions: [first.execution.id], directories: [], sessions: [] });
      expect(await remove(second)).toMatchObject({ directories: [fresh.directory], sessions: [{ id: session }] });
    });

    test('a page of long records ends early and goes on after its cursor', async () => {
      const text = 'x'.repeat(3 * 1024 * 1024);
      for (let index = 0; index < 4; index += 1) {
        const record = await create();
        await current().updateExecution(record.execution.id, 1, { ...record.execution, partialText: text });
      }
      const first = await current().listExecutions({ tenant: 'local', limit: 4 });
      expect(first.executions).toHaveLength(2);
      const cursor = first.nextCursor ?? '';
      const second = await current().listExecutions({ tenant: 'local', limit: 4, cursor });
      expect(second.executions).toHaveLength(2);
      expect(second.nextCursor).toBeNull();
    });

    test('an old log is cut down to its last event, and an unfinished one never', async () => {
      const old = await create();
      await appendTo(old, 2, 5_000);
      await current().append(finishOf(old, 5_001, '2030-01-02T00:00:00.000Z'));
      const recent = await create();
      await current().append(finishOf(recent, 2, '2030-01-05T00:00:00.000Z'));
      const running = await create();
      const report = await current().applyRetention({ ...KEEP_ALL, logsFinishedBefore: '2030-01-03T00:00:00.000Z' });
      expect(report).toEqual({ cutLogs: [old.execution.id], executions: [], directories: [], sessions: [] });
      const page = await current().readEvents(old.execution.id, ALL);
      expect(page).toMatchObject({ firstSeq: 5_001, lastSeq: 5_001, finished: true });
      expect(page.events.map((event) => event.type)).toEqual(['execution.finished']);
      expect(await seqs(recent.execution.id)).toEqual([1, 2]);
      expect(await seqs(running.execution.id)).toEqual([1]);
    });

    test('over the byte limit the oldest finished logs are cut, and no more than needed', async () => {
      const records = [await create(), await create(), await create()];
      for (const [index, record] of records.entries()) {
        const { id } = record.execution;
        await current().append({ executionId: id, fence: 1, events: [eventOf(2, 'x'.repeat(10_000))] });
        if (index < 2) {
          await current().append(finishOf(record, 3, `2030-01-0${index + 1}T00:00:00.000Z`));
        }
      }
      const cut = async (maxLogBytes: number): Promise<string[]> =>
        (await current().applyRetention({ ...KEEP_ALL, maxLogBytes })).cutLogs;
      expect(await cut(40_000)).toEqual([]);
      expect(await cut(25_000)).toEqual([records[0]?.execution.id]);
      expect(await cut(0)).toEqual([records[1]?.execution.id]);
    });

    test('old records are removed, with a session that nothing else uses', async () => {
      const [lonely, shared] = [newId(), newId()];
      await current().putSession(sessionOf(lonely));
      await current().putSession(sessionOf(shared));
      const first = await create({ execution: { sessionId: lonely } });
      const second = await create({ execution: { sessionId: shared } });
      await create({ execution: { sessionId: shared } });
      for (const record of [first, second]) {
        await current().append(finishOf(record, 2, '2030-01-02T00:00:00.000Z'));
      }
      const limits = { ...KEEP_ALL, recordsFinishedBefore: '2030-01-03T00:00:00.000Z' };
      expect(await current().applyRetention(limits)).toEqual({
        cutLogs: [],
        executions: [first, second].map(({ execution }) => execution.id),
        directories: [],
        sessions: [sessionOf(lonely)],
      });
      expect(await current().getExecution('local', first.execution.id)).toBeUndefined();
      expect(await current().getSession('local', shared)).toEqual(sessionOf(shared));
    });

    test('a probe succeeds on a store that takes writes, and a closed one takes nothing', async () => {
      await current().probe();
      await current().close();
      await current().close();
      for (const call of [current().probe(), current().listUnfinished()]) {
        await expect(call).rejects.toMatchObject({ code: 'storage_unavailable' });
      }
    });
  });
}
