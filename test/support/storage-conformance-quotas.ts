import { describe, expect, test } from 'vitest';
import type { UsageLimits } from '../../src/protocol/key-schemas.ts';
import type { Quota } from '../../src/storage/quota.ts';
import type { ExecutionRecord, Storage } from '../../src/storage/storage.ts';
import { eventOf, finishOf, recordOf } from './execution-records.ts';

/** What every adapter does with limits; `connections` opens one more to the same store. */
export function describeQuotas(adapter: string, storage: () => Storage, connect: () => Promise<Storage>): void {
  const ofKey = (limits: UsageLimits, keyId = 'key-a', tenant = 'local'): Quota => ({ tenant, keyId, limits });
  const ofTenant = (limits: UsageLimits): Quota => ({ tenant: 'local', keyId: undefined, limits });
  const at = (seconds: number): string => new Date(Date.parse('2030-01-01T12:00:00Z') + seconds * 1000).toISOString();
  const start = async (
    quotas: readonly Quota[],
    changes: { createdAt?: string; keyId?: string; idempotencyKey?: string; on?: Storage } = {},
  ): Promise<ExecutionRecord> => {
    const { createdAt = at(0), keyId = 'key-a', on = storage(), ...more } = changes;
    const record = recordOf({ keyId, execution: { createdAt }, ...more });
    return (await on.createExecution(record, eventOf(1), { quotas })).record;
  };
  const tooMany = expect.objectContaining({ code: 'too_many' });
  const exceeded = expect.objectContaining({ code: 'quota_exceeded' });

  describe(`${adapter}: limits`, () => {
    test('the key that asked for it is stored with an execution', async () => {
      const { execution } = await start([]);
      expect((await storage().getExecution('local', execution.id))?.keyId).toBe('key-a');
    });

    test('executions that have not finished count; one that finishes, or is deleted, makes room', async () => {
      const quotas = [ofKey({ concurrentRuns: 2 })];
      const [first] = [await start(quotas), await start(quotas)];
      await expect(start(quotas)).rejects.toEqual(tooMany);
      await expect(start(quotas)).rejects.toThrow(/This key may have 2 executions .*concurrentRuns.*wait for one/);
      await start([ofKey({ concurrentRuns: 2 }, 'key-b')], { keyId: 'key-b' });
      await storage().append(finishOf(first ?? expect.unreachable(), 2));
      await start(quotas);
      await expect(start(quotas)).rejects.toEqual(tooMany);
    });

    test('a tenant’s limit holds for its keys together, and is named as such', async () => {
      const quotas = (keyId: string) => [ofKey({ concurrentRuns: 2 }, keyId), ofTenant({ concurrentRuns: 3 })];
      for (const keyId of ['key-a', 'key-a', 'key-b']) await start(quotas(keyId), { keyId });
      await expect(start(quotas('key-b'), { keyId: 'key-b' })).rejects.toThrow(/This tenant may have 3/);
      await expect(start(quotas('key-a'), { keyId: 'key-a' })).rejects.toThrow(/This key may have 2/);
    });

    test('starts count for 60 seconds each, and the refusal says when the next one fits', async () => {
      const quotas = [ofKey({ startsPerMinute: 3 })];
      for (const seconds of [0, 10, 20]) await start(quotas, { createdAt: at(seconds) });
      await expect(start(quotas, { createdAt: at(25) })).rejects.toMatchObject({
        code: 'too_many',
        data: { retryAfterMs: 35_000 },
      });
      await start(quotas, { createdAt: at(60) });
      await expect(start(quotas, { createdAt: at(61) })).rejects.toMatchObject({ data: { retryAfterMs: 9_000 } });
    });

    test('a limit that was made narrower says when enough of the starts are over', async () => {
      for (const seconds of [0, 10, 20]) await start([ofKey({ startsPerMinute: 5 })], { createdAt: at(seconds) });
      await expect(start([ofKey({ startsPerMinute: 2 })], { createdAt: at(25) })).rejects.toMatchObject({
        data: { retryAfterMs: 45_000 },
      });
    });

    test('a refused start counts against nothing', async () => {
      const [wide, narrow] = [ofTenant({ startsPerMinute: 2, bytesPerDay: 1_000 }), ofKey({ concurrentRuns: 1 })];
      await start([narrow]);
      for (let time = 0; time < 3; time += 1) await expect(start([wide, narrow])).rejects.toEqual(tooMany);
      await start([wide]);
      await start([wide]);
      await expect(start([wide])).rejects.toEqual(tooMany);
    });

    test('a repeated submit counts once, and is answered when there is no room', async () => {
      const quotas = [ofKey({ concurrentRuns: 1, startsPerMinute: 1 })];
      const first = await start(quotas, { idempotencyKey: 'k' });
      const again = await start(quotas, { idempotencyKey: 'k' });
      expect(again.execution.id).toBe(first.execution.id);
    });

    test('bytes count by UTC day, of requests and of what is taken beside', async () => {
      const { request } = recordOf();
      const quotas = [ofKey({ bytesPerDay: 2 * Buffer.byteLength(JSON.stringify(request)) })];
      await start(quotas);
      await start(quotas);
      await expect(start(quotas)).rejects.toMatchObject({
        code: 'quota_exceeded',
        data: { retryAfterMs: 12 * 3600_000 },
      });
      await start(quotas, { createdAt: at(12 * 3600) });
      const today = [ofKey({ bytesPerDay: 100 }, 'key-c')];
      await storage().takeBytes(today, 60);
      await expect(storage().takeBytes(today, 41)).rejects.toEqual(exceeded);
      await storage().takeBytes(today, 40);
      await expect(storage().takeBytes(today, 1)).rejects.toEqual(exceeded);
    });

    test('keys of the same name in two tenants share nothing', async () => {
      const other = ofKey({ bytesPerDay: 10 }, 'key-a', 'other');
      await storage().takeBytes([ofKey({ bytesPerDay: 10 })], 10);
      await storage().takeBytes([other], 10);
      await expect(storage().takeBytes([other], 1)).rejects.toEqual(exceeded);
    });

    test('of many starts at once over two connections, as many are taken as the limit says', async () => {
      const connections = [storage(), await connect()];
      const quotas = [ofKey({ concurrentRuns: 5, startsPerMinute: 7 })];
      const starts = await Promise.allSettled(
        Array.from({ length: 40 }, (_, index) => start(quotas, { on: connections[index % 2] ?? storage() })),
      );
      expect(starts.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
    });
  });
}
