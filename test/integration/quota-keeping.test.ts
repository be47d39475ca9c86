import { DatabaseSync } from 'node:sqlite';
import { describe, expect, onTestFinished, test } from 'vitest';
import { auditDraft } from '../../src/audit/audit-draft.ts';
import type { Quota } from '../../src/storage/quota.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { ExecutionRecord, Storage } from '../../src/storage/storage.ts';
import { has } from '../support/capabilities.ts';
import { eventOf, finishOf, recordOf } from '../support/execution-records.ts';
import { openOn, redisServer } from '../support/redis-server.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const KEY: Omit<Quota, 'limits'> = { tenant: 'local', keyId: 'key-a' };
const LIVE = 'cce:live:key:local:key-a';
const NO_LIMITS = {
  logsFinishedBefore: '2000-01-01T00:00:00.000Z',
  recordsFinishedBefore: '2000-01-01T00:00:00.000Z',
  maxLogBytes: Number.MAX_SAFE_INTEGER,
};

async function start(storage: Storage, limits: Quota['limits']): Promise<ExecutionRecord> {
  const record = recordOf({ keyId: 'key-a' });
  return (await storage.createExecution(record, eventOf(1), { quotas: [{ ...KEY, limits }] })).record;
}

test('SQLite: what no limit looks at any more is forgotten with the retention', async () => {
  const dataDirectory = await temporaryFolder();
  const storage = await openSqliteStorage({ dataDirectory });
  onTestFinished(() => storage.close());
  const db = new DatabaseSync(`${dataDirectory}/store.sqlite`);
  onTestFinished(() => db.close());
  const rows = (): unknown[] =>
    ['starts', 'taken_bytes'].map((table) => db.prepare(`SELECT count(*) AS count FROM ${table}`).get()?.count);
  await start(storage, { startsPerMinute: 5, bytesPerDay: 1_000_000 });
  expect(rows()).toEqual([1, 1]);
  db.exec("UPDATE starts SET at = 1; UPDATE taken_bytes SET day = '2000-01-01'");
  await storage.applyRetention(NO_LIMITS);
  expect(rows()).toEqual([0, 0]);
});

describe.runIf(has('redis'))('with a redis-server', () => {
  test('an execution that ends is no longer among those that count', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    const record = await start(storage, { concurrentRuns: 5 });
    expect(await server.command('ZRANGE', LIVE, 0, -1)).toEqual([record.execution.id]);
    await storage.append(finishOf(record, 2));
    expect(await server.command('EXISTS', LIVE)).toBe(0);
  });

  test('one that a node ended which knows nothing of limits makes room all the same', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    const { execution } = await start(storage, { concurrentRuns: 1 });
    await expect(start(storage, { concurrentRuns: 1 })).rejects.toMatchObject({ code: 'too_many' });
    await server.command('HSET', `cce:execution:${execution.id}`, 'state', 'finished');
    await start(storage, { concurrentRuns: 1 });
    await expect(start(storage, { concurrentRuns: 1 })).rejects.toMatchObject({ code: 'too_many' });
  });

  test('entries of the audit log that are given again, because their answer was lost, stand there once', async () => {
    const server = await redisServer();
    const batch = ['a', 'b'].map((subject) => auditDraft({}, { action: 'key.create', subject }));
    await (await openOn(server)).appendAudit(batch);
    const again = await openOn(server);
    await again.appendAudit(batch);
    await again.appendAudit([auditDraft({}, { action: 'key.create', subject: 'c' })]);
    const { texts } = await again.readAudit({ after: 0, limit: 10 });
    expect(texts.map((text) => JSON.parse(text).subject)).toEqual(['a', 'b', 'c']);
  });
});
