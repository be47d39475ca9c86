import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { newId } from '../../src/protocol/ids.ts';
import type { ExecutionRecord, Storage } from '../../src/storage/storage.ts';
import { eventOf, eventsOf, executionOf, finishedOf, finishOf, recordOf, sessionOf } from './execution-records.ts';
import { describeAudit } from './storage-conformance-audit.ts';
import { describeKeys } from './storage-conformance-keys.ts';
import { describeQuotas } from './storage-conformance-quotas.ts';
import { describeRemoval } from './storage-conformance-removal.ts';

const ALL = { after: 0, limit: 1_000, maxBytes: 1024 * 1024 };
/** Opens one more connection to the store that belongs to the running test. */
export type OpenStorage = () => Promise<Storage>;

/**
 * What every adapter of `Storage` must do. `prepare` is called in every test; it makes an empty store and returns
 * how to open it. The suite closes what it opens.
 */
export function describeStorage(adapter: string, prepare: () => Promise<OpenStorage>): void {
  let open: OpenStorage;
  let storage: Storage;

  beforeEach(async () => {
    const openOne = await prepare();
    open = async () => {
      const opened = await openOne();
      onTestFinished(() => opened.close());
      return opened;
    };
    storage = await open();
  });

  const create = async (changes: Parameters<typeof recordOf>[0] = {}): Promise<ExecutionRecord> =>
    (await storage.createExecution(recordOf(changes), eventOf(1))).record;
  const appendTo = (record: ExecutionRecord, from: number, to: number): Promise<void> =>
    storage.append({ executionId: record.execution.id, fence: record.fence, events: eventsOf(from, to) });
  const seqs = async (id: string, options = ALL): Promise<number[]> =>
    (await storage.readEvents(id, options)).events.map((event) => event.seq);

  describe(`${adapter}: records`, () => {
    test('an execution is found by its idempotency key, by its own tenant alone', async () => {
      const { execution } = await create({ idempotencyKey: 'k' });
      expect((await storage.findByKey('local', 'k'))?.execution.id).toBe(execution.id);
      expect(await storage.findByKey('other', 'k')).toBeUndefined();
      expect(await storage.findByKey('local', 'another')).toBeUndefined();
    });

    test('the public part is read as JSON, and is the record’s own once it has finished', async () => {
      const record = await create();
      const { id } = record.execution;
      const read = () => storage.readExecution('local', id);
      expect(await read()).toMatchObject({ state: 'queued' });
      await storage.append(finishOf(record, 2));
      const stored = await read();
      expect(stored?.state).toBe('finished');
      const { lastSeq: _, ...execution } = JSON.parse(stored?.json ?? '');
      expect({ ...execution, lastSeq: 2 }).toEqual((await storage.getExecution('local', id))?.execution);
      expect(await storage.readExecution('other', id)).toBeUndefined();
      expect(await storage.readExecution('local', newId())).toBeUndefined();
    });

    test('a created execution is read back as it was given', async () => {
      const record = recordOf({ execution: { metadata: { team: 'ü\u2028"' } } });
      expect(await storage.createExecution(record, eventOf(1))).toEqual({ created: true, record });
      expect(await storage.getExecution('local', record.execution.id)).toEqual(record);
    });

    test('another tenant does not see an execution', async () => {
      const { execution } = await create();
      expect(await storage.getExecution('other', execution.id)).toBeUndefined();
      expect(await storage.listExecutions({ tenant: 'other', limit: 10 })).toEqual({
        executions: [],
        nextCursor: null,
      });
    });

    test('what one connection stored is there for another one', async () => {
      const record = await create();
      expect(await (await open()).getExecution('local', record.execution.id)).toEqual(record);
    });

    test('the same id cannot be created twice', async () => {
      const record = await create();
      await expect(storage.createExecution(record, eventOf(1))).rejects.toMatchObject({ code: 'conflict' });
    });

    test('a used idempotency key returns the first record and stores nothing', async () => {
      const first = await create({ idempotencyKey: 'k' });
      const second = recordOf({ idempotencyKey: 'k', requestHash: 'hash-b' });
      expect(await storage.createExecution(second, eventOf(1))).toEqual({ created: false, record: first });
      expect(await storage.getExecution('local', second.execution.id)).toBeUndefined();
    });

    test('a session is stored with its execution, and not with a repeated submit', async () => {
      const [kept, unused] = [newId(), newId()];
      await storage.createExecution(recordOf({ idempotencyKey: 'k' }), eventOf(1), { session: sessionOf(kept) });
      await storage.createExecution(recordOf({ idempotencyKey: 'k' }), eventOf(1), { session: sessionOf(unused) });
      expect(await storage.getSession('local', kept)).toEqual(sessionOf(kept));
      expect(await storage.getSession('local', unused)).toBeUndefined();
    });

    test('tenants do not share idempotency keys', async () => {
      await create({ idempotencyKey: 'k' });
      const other = await storage.createExecution(recordOf({ idempotencyKey: 'k', tenant: 'other' }), eventOf(1));
      expect(other.created).toBe(true);
    });

    test('of concurrent creates with one key, over two connections, exactly one is stored', async () => {
      const connections = [storage, await open()];
      const results = await Promise.all(
        Array.from({ length: 40 }, (_, index) =>
          connections[index % 2]?.createExecution(recordOf({ idempotencyKey: 'k' }), eventOf(1)),
        ),
      );
      expect(results.filter((result) => result?.created)).toHaveLength(1);
      expect(new Set(results.map((result) => result?.record.execution.id)).size).toBe(1);
      expect((await storage.listExecutions({ tenant: 'local', limit: 10 })).executions).toHaveLength(1);
    });

    test('the list is newest first, and its pages hold every execution once', async () => {
      const records = await Promise.all(Array.from({ length: 7 }, () => create()));
      const seen: string[] = [];
      let cursor: string | null = null;
      let pages = 0;
      do {
        const page = await storage.listExecutions({ tenant: 'local', limit: 3, ...(cursor !== null && { cursor }) });
        seen.push(...page.executions.map((execution) => execution.id));
        cursor = page.nextCursor;
        pages += 1;
      } while (cursor !== null);
      expect(seen).toEqual(records.map((record) => record.execution.id).reverse());
      expect(pages).toBe(3);
    });

    test('the list filters by state, outcome and session', async () => {
      const sessionId = newId();
      const queued = await create({ execution: { sessionId } });
      const finished = await create();
      await storage.append(finishOf(finished, 2));
      const ids = async (filter: object): Promise<string[]> =>
        (await storage.listExecutions({ tenant: 'local', limit: 10, ...filter })).executions.map(({ id }) => id);
      expect(await ids({ state: 'queued' })).toEqual([queued.execution.id]);
      expect(await ids({ state: 'finished' })).toEqual([finished.execution.id]);
      expect(await ids({ outcome: 'succeeded' })).toEqual([finished.execution.id]);
      expect(await ids({ outcome: 'failed' })).toEqual([]);
      expect(await ids({ sessionId })).toEqual([queued.execution.id]);
      expect(await ids({ sessionId, state: 'running' })).toEqual([]);
    });

    test('the unfinished executions of all tenants come oldest first', async () => {
      const first = await create();
      await storage.append(finishOf(await create(), 2));
      const second = await create({ tenant: 'other' });
      const seen = ({ tenant, execution, instanceId, fence }: ExecutionRecord): object => ({
        ...{ tenant, id: execution.id, state: execution.state },
        ...{ instanceId, fence },
      });
      expect(await storage.listUnfinished()).toEqual([seen(first), seen(second)]);
    });
  });

  describe(`${adapter}: event logs`, () => {
    test('appended events come back in order with the bytes they were given', async () => {
      const record = await create();
      await appendTo(record, 2, 5);
      expect(await storage.readEvents(record.execution.id, ALL)).toEqual({
        events: eventsOf(1, 5),
        firstSeq: 1,
        lastSeq: 5,
        finished: false,
      });
      expect((await storage.getExecution('local', record.execution.id))?.execution.lastSeq).toBe(5);
    });

    test('events and the record are stored together, and the storage sets lastSeq', async () => {
      const record = await create();
      const { id } = record.execution;
      const execution = executionOf({ id, state: 'running', lastSeq: 1, partialText: 'so far' });
      await storage.append({ executionId: id, fence: 1, events: eventsOf(2, 3), execution });
      expect((await storage.getExecution('local', id))?.execution).toEqual({ ...execution, lastSeq: 3 });
    });

    test('an append that leaves a gap, or repeats an event, stores nothing', async () => {
      const record = await create();
      const { id } = record.execution;
      const running = executionOf({ id, state: 'running' });
      for (const events of [eventsOf(3, 4), eventsOf(1, 2), [eventOf(2), eventOf(4)], [eventOf(2), eventOf(2)]]) {
        const append = storage.append({ executionId: id, fence: 1, events, execution: running });
        await expect(append).rejects.toMatchObject({ code: 'stale_writer' });
      }
      expect(await seqs(id)).toEqual([1]);
      expect(await storage.getExecution('local', id)).toEqual(record);
    });

    test('one refused append leaves those stored beside it alone', async () => {
      const records = [await create(), await create(), await create()];
      const results = await Promise.allSettled(
        records.map((record, index) => appendTo(record, index === 1 ? 9 : 2, index === 1 ? 9 : 2)),
      );
      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      expect(await Promise.all(records.map((record) => seqs(record.execution.id)))).toEqual([[1, 2], [1], [1, 2]]);
    });

    test('of concurrent appends of the same seq, over two connections, one is stored', async () => {
      const record = await create();
      const other = await open();
      const append = { executionId: record.execution.id, fence: 1, events: eventsOf(2, 2) };
      const results = await Promise.allSettled([storage.append(append), other.append(append), storage.append(append)]);
      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
      expect(await seqs(record.execution.id)).toEqual([1, 2]);
    });

    test('a finished execution takes neither a second end, nor an event, nor a record', async () => {
      const record = await create();
      const { id } = record.execution;
      await storage.append(finishOf(record, 2));
      const refusal = { code: 'stale_writer' };
      await expect(storage.append(finishOf(record, 3))).rejects.toMatchObject(refusal);
      await expect(appendTo(record, 3, 3)).rejects.toMatchObject(refusal);
      await expect(storage.updateExecution(id, 1, record.execution)).rejects.toMatchObject(refusal);
      expect(await storage.takeOver(id, 1, 'instance-b')).toBeUndefined();
      expect(await storage.readEvents(id, ALL)).toMatchObject({ lastSeq: 2, finished: true });
      expect((await storage.getExecution('local', id))?.execution.outcome?.kind).toBe('succeeded');
    });

    test('the last event and the finished record are not stored without each other', async () => {
      const record = await create();
      const { execution: _, ...eventAlone } = finishOf(record, 2);
      await expect(storage.append(eventAlone)).rejects.toThrow('together');
      const recordAlone = storage.updateExecution(record.execution.id, 1, finishedOf(record.execution));
      await expect(recordAlone).rejects.toThrow('together');
      expect(await storage.getExecution('local', record.execution.id)).toEqual(record);
    });

    test('pages are bounded by count and by bytes, and hold at least one event', async () => {
      const record = await create();
      const { id } = record.execution;
      await storage.append({
        executionId: id,
        fence: 1,
        events: [2, 3, 4].map((seq) => eventOf(seq, 'é'.repeat(500))),
      });
      expect(await seqs(id, { ...ALL, limit: 2 })).toEqual([1, 2]);
      expect(await seqs(id, { ...ALL, after: 2, limit: 2 })).toEqual([3, 4]);
      expect(await seqs(id, { ...ALL, after: 1, maxBytes: 2_200 })).toEqual([2, 3]);
      expect(await seqs(id, { ...ALL, after: 1, maxBytes: 1 })).toEqual([2]);
      expect(await seqs(id, { ...ALL, after: 4 })).toEqual([]);
    });

    test('an event of 20 MB is stored and read as it is', async () => {
      const record = await create();
      const event = eventOf(2, '€'.repeat(7_000_000));
      await storage.append({ executionId: record.execution.id, fence: 1, events: [event] });
      const page = await storage.readEvents(record.execution.id, { ...ALL, after: 1 });
      expect(page.events[0]?.bytes === event.bytes).toBe(true);
    });

    test('an unknown execution is not found', async () => {
      const id = newId();
      const refusal = { code: 'not_found' };
      await expect(storage.readEvents(id, ALL)).rejects.toMatchObject(refusal);
      await expect(storage.append({ executionId: id, fence: 1, events: eventsOf(2, 2) })).rejects.toMatchObject(
        refusal,
      );
      await expect(storage.updateExecution(id, 1, executionOf({ id }))).rejects.toMatchObject(refusal);
      await expect(storage.deleteExecution('local', id)).rejects.toMatchObject(refusal);
      expect(await storage.takeOver(id, 1, 'instance-b')).toBeUndefined();
    });
  });

  describe(`${adapter}: ownership`, () => {
    test('a take-over raises the fence, and the old writer is refused from then on', async () => {
      const record = await create();
      const { id } = record.execution;
      expect(await storage.takeOver(id, 1, 'instance-b')).toEqual({ ...record, instanceId: 'instance-b', fence: 2 });
      await expect(appendTo(record, 2, 2)).rejects.toMatchObject({ code: 'stale_writer' });
      const late = storage.updateExecution(id, 1, executionOf({ id, state: 'running' }));
      await expect(late).rejects.toMatchObject({ code: 'stale_writer' });
      await storage.append({ executionId: id, fence: 2, events: eventsOf(2, 2) });
      expect(await seqs(id)).toEqual([1, 2]);
    });

    test('of two take-overs with the same fence one succeeds', async () => {
      const { execution } = await create();
      const other = await open();
      const results = await Promise.all([
        storage.takeOver(execution.id, 1, 'instance-b'),
        other.takeOver(execution.id, 1, 'instance-c'),
      ]);
      expect(results.filter((result) => result !== undefined)).toHaveLength(1);
    });

    test('an instance is alive from its registration until its storage is closed', async () => {
      const other = await open();
      const id = newId();
      expect(await storage.instanceAlive(id)).toBe(false);
      await other.registerInstance(id);
      expect(await storage.instanceAlive(id)).toBe(true);
      expect(await other.instanceAlive(id)).toBe(true);
      await other.close();
      expect(await storage.instanceAlive(id)).toBe(false);
    });

    test('claims are taken all or none, and name who holds one', async () => {
      const instanceId = newId();
      await storage.registerInstance(instanceId);
      const [a, b] = [await create(), await create()].map(({ execution }) => execution.id);
      const holderA = { executionId: String(a), instanceId };
      const holderB = { executionId: String(b), instanceId };
      expect(await storage.claim(['workspace:1', 'session:1'], holderA)).toBeUndefined();
      expect(await storage.claim(['workspace:1'], holderA)).toBeUndefined();
      expect(await storage.claim(['workspace:2', 'session:1'], holderB)).toBe(a);
      expect(await storage.claim(['workspace:2'], holderA)).toBeUndefined();
      await storage.releaseClaims(String(a));
      expect(await storage.claim(['workspace:2', 'session:1'], holderB)).toBeUndefined();
    });

    test('a claim of a dead instance, and of a finished execution, falls to the next taker', async () => {
      const dying = await open();
      await dying.registerInstance('instance-dying');
      await storage.registerInstance('instance-living');
      const [orphan, ending, next] = [await create(), await create(), await create()];
      const take = (key: string, record: ExecutionRecord, instanceId: string): Promise<string | undefined> =>
        storage.claim([key], { executionId: record.execution.id, instanceId });
      await take('workspace:1', orphan, 'instance-dying');
      await take('workspace:2', ending, 'instance-living');
      expect(await take('workspace:1', next, 'instance-living')).toBe(orphan.execution.id);
      expect(await take('workspace:2', next, 'instance-living')).toBe(ending.execution.id);
      await dying.close();
      await storage.append(finishOf(ending, 2));
      expect(await take('workspace:1', next, 'instance-living')).toBeUndefined();
      expect(await take('workspace:2', next, 'instance-living')).toBeUndefined();
    });
  });

  describeKeys(adapter, () => open());
  describeAudit(
    adapter,
    () => storage,
    () => open(),
  );
  describeQuotas(
    adapter,
    () => storage,
    () => open(),
  );
  describeRemoval(adapter, { storage: () => storage, create, appendTo, seqs });
}
