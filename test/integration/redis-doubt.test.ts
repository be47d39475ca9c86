// promise: P1

import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ExecutionRecord, Storage } from '../../src/storage/storage.ts';
import { has } from '../support/capabilities.ts';
import { eventOf, recordOf } from '../support/execution-records.ts';
import { faultProxy } from '../support/fault-proxy.ts';
import { waitUntil } from '../support/processes.ts';
import { openOn, redisServer } from '../support/redis-server.ts';

interface Doubt {
  /** What a store was asked to create, and what was created although its answer did not come. */
  record: ExecutionRecord;
  /** A store with a good network. */
  other: Storage;
  /** The first store reaches Redis again, and undoes what it was told has failed. */
  settled(): Promise<void>;
}

/** A store that gave up on a creation, which Redis has done. */
async function doubt(): Promise<Doubt> {
  const redis = await redisServer();
  const other = await openOn(redis);
  const proxy = await faultProxy({ path: join(redis.folder, 'r.sock') });
  onTestFinished(() => proxy.close());
  const storage = await openOn({ url: `redis://127.0.0.1:${proxy.port}` });
  // The server then knows the script, and does it without a second question.
  await other.createExecution(recordOf(), eventOf(1));
  const record = recordOf({ idempotencyKey: 'k' });
  proxy.fault({ kind: 'deaf' });
  await expect(storage.createExecution(record, eventOf(1))).rejects.toMatchObject({ code: 'storage_unavailable' });
  const settled = async (): Promise<void> => {
    proxy.heal();
    await waitUntil('the store to be back', () =>
      storage.probe().then(
        () => true,
        () => false,
      ),
    );
  };
  return { record, other, settled };
}

describe.runIf(has('redis'))('a creation whose answer was lost', () => {
  test('is undone when the store is back, because its caller was told that it failed', async () => {
    const { record, other, settled } = await doubt();
    expect(await other.getExecution('local', record.execution.id)).toBeDefined();
    await settled();
    expect(await other.getExecution('local', record.execution.id)).toBeUndefined();
  });

  test('is there for good once the same key was answered with it elsewhere', async () => {
    const { record, other, settled } = await doubt();
    const again = await other.createExecution(recordOf({ idempotencyKey: 'k' }), eventOf(1));
    expect([again.created, again.record.execution.id]).toEqual([false, record.execution.id]);
    await settled();
    expect((await other.getExecution('local', record.execution.id))?.execution.state).toBe('queued');
    expect((await other.findByKey('local', 'k'))?.execution.id).toBe(record.execution.id);
  });

  test('is there for good once it was found by its key', async () => {
    const { record, other, settled } = await doubt();
    expect((await other.findByKey('local', 'k'))?.execution.id).toBe(record.execution.id);
    await settled();
    expect(await other.getExecution('local', record.execution.id)).toBeDefined();
  });

  test('is there for good once somebody has taken it over to run it', async () => {
    const { record, other, settled } = await doubt();
    expect(await other.takeOver(record.execution.id, 1, 'instance-b')).toBeDefined();
    await settled();
    expect(await other.getExecution('local', record.execution.id)).toBeDefined();
  });
});
