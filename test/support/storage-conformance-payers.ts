import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { newId } from '../../src/protocol/ids.ts';
import type { SpendAnswer, SpendCounter } from '../../src/storage/payer-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { eventOf, finishOf, KEEP_ALL, recordOf } from './execution-records.ts';
import type { OpenStorage } from './storage-conformance.ts';

const DAY = new Date().toISOString().slice(0, 10);
const HOLD_MS = 60_000;

/** What every adapter must do for those who pay: counters, envelopes, values and notes. */
export function describePayers(adapter: string, prepare: () => Promise<OpenStorage>): void {
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

  const reserve = (
    microUsd: number,
    counters: readonly SpendCounter[],
    { id = newId(), holdMs = HOLD_MS, on = storage } = {},
  ): Promise<SpendAnswer> => on.reserveSpend({ id, day: DAY, microUsd, counters, holdMs });
  const limited = (limitMicroUsd: number, name = 'tenant:a'): SpendCounter[] => [{ name, limitMicroUsd }];

  describe(`${adapter}: spend of a day`, () => {
    test('what is reserved is held back, and a settlement books the cost in its place, once', async () => {
      const id = newId();
      expect(await reserve(60, [...limited(100), { name: 'key:k' }], { id })).toBe('reserved_here');
      expect(await storage.readSpend(DAY, 'tenant:a')).toEqual({ spentMicroUsd: 0, reservedMicroUsd: 60 });
      await storage.settleSpend(id, 25);
      await storage.settleSpend(id, 25);
      for (const name of ['tenant:a', 'key:k']) {
        expect(await storage.readSpend(DAY, name)).toEqual({ spentMicroUsd: 25, reservedMicroUsd: 0 });
      }
      expect(await storage.readSpend('2001-01-01', 'tenant:a')).toEqual({ spentMicroUsd: 0, reservedMicroUsd: 0 });
    });

    test('a full counter refuses, a reserved one asks to wait, and one that refuses leaves all as they were', async () => {
      const id = newId();
      await reserve(90, limited(100), { id });
      const both = [{ name: 'key:k', limitMicroUsd: 1_000 }, ...limited(100)];
      expect(await reserve(20, both)).toEqual({ refusal: 'reserved', counter: 'tenant:a', spentMicroUsd: 0 });
      await storage.settleSpend(id, 100);
      expect(await reserve(1, both)).toEqual({ refusal: 'full', counter: 'tenant:a', spentMicroUsd: 100 });
      expect(await storage.readSpend(DAY, 'key:k')).toEqual({ spentMicroUsd: 0, reservedMicroUsd: 0 });
    });

    test('a call that is bigger than what is left is made alone', async () => {
      expect(await reserve(500, limited(100))).toBe('reserved_here');
      expect(await reserve(1, limited(100))).toMatchObject({ refusal: 'reserved' });
    });

    test('of many reservations at once over two connections, those that fit are taken and no more', async () => {
      const connections = [storage, await open()];
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, at) => reserve(10, limited(100), { on: connections[at % 2] ?? storage })),
      );
      expect(answers.filter((answer) => answer === 'reserved_here')).toHaveLength(10);
      expect(await storage.readSpend(DAY, 'tenant:a')).toEqual({ spentMicroUsd: 0, reservedMicroUsd: 100 });
    });

    test('what is not settled in time counts as spent, and a late settlement puts it right', async () => {
      const id = newId();
      await reserve(80, limited(100), { id, holdMs: 0 });
      await expect.poll(() => reserve(50, limited(100))).toBe('reserved_here');
      expect(await storage.readSpend(DAY, 'tenant:a')).toEqual({ spentMicroUsd: 80, reservedMicroUsd: 50 });
      await storage.settleSpend(id, 10);
      expect(await storage.readSpend(DAY, 'tenant:a')).toEqual({ spentMicroUsd: 10, reservedMicroUsd: 50 });
    });
  });

  describe(`${adapter}: envelopes, values and notes`, () => {
    test('a record keeps its key and its envelope, and loses the envelope when it finishes', async () => {
      const record = recordOf({ keyId: 'k1', envelope: 'sealed' });
      await storage.createExecution(record, eventOf(1));
      const { id } = record.execution;
      expect(await storage.getExecution('local', id)).toEqual(record);
      expect(await storage.takeOver(id, 1, 'instance-b')).toMatchObject({ keyId: 'k1', envelope: 'sealed' });
      await storage.append(finishOf({ ...record, fence: 2 }, 2));
      const finished = await storage.getExecution('local', id);
      expect([finished?.keyId, finished?.envelope]).toEqual(['k1', undefined]);
      await storage.applyRetention(KEEP_ALL);
      expect((await storage.getExecution('local', id))?.keyId).toBe('k1');
    });

    test('of many who keep a value at once one wins, and all are told which', async () => {
      const connections = [storage, await open()];
      const kept = await Promise.all(
        Array.from({ length: 20 }, (_, at) => connections[at % 2]?.keepValue('pin', `value ${at}`)),
      );
      expect(new Set(kept).size).toBe(1);
      expect(await storage.getValue('pin')).toBe(kept[0]);
      expect(await storage.keepValue('secret', 'of its own')).toBe('of its own');
      await storage.replaceValue('pin', 'other');
      expect(await storage.keepValue('pin', 'late')).toBe('other');
      await storage.replaceValue('pin', undefined);
      expect(await storage.getValue('pin')).toBeUndefined();
    });

    test('notes are told while their instances live', async () => {
      const other = await open();
      await storage.registerInstance('instance-a');
      await other.registerInstance('instance-b');
      await storage.publishNote({ instanceId: 'instance-a', note: 'old' });
      await storage.publishNote({ instanceId: 'instance-a', note: 'one' });
      await other.publishNote({ instanceId: 'instance-b', note: 'two' });
      expect(await storage.listNotes()).toEqual([
        { instanceId: 'instance-a', note: 'one' },
        { instanceId: 'instance-b', note: 'two' },
      ]);
      await other.close();
      await expect.poll(() => storage.listNotes(), { timeout: 15_000 }).toHaveLength(1);
    }, 20_000);
  });
}
