import { expect, it, onTestFinished } from 'vitest';
import { EventWriter } from '../../src/event-log/event-writer.ts';
import { InProcessDispatcher } from '../../src/executions/in-process-dispatcher.ts';
import { LiveExecution } from '../../src/executions/live-execution.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { ExecutionRecord } from '../../src/storage/storage.ts';
import { recordOf } from '../support/execution-records.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const MiB = 1024 * 1024;

function adopt(record: ExecutionRecord): LiveExecution {
  const port = { storage: { append: async () => {} }, stored: () => {}, ended: () => {} };
  const writer = new EventWriter(port, { executionId: record.execution.id, fence: 1, lastSeq: 1 });
  return new LiveExecution(record, { writer, stallAfterMs: 60_000 });
}

it('executions that wait take no more than 256 MiB of prompts, and there is room again when one is withdrawn', async () => {
  const storage = await openSqliteStorage({ dataDirectory: await temporaryFolder() });
  onTestFinished(() => storage.close());
  const dispatcher = new InProcessDispatcher({
    storage,
    runs: { adopt, run: () => new Promise(() => {}) },
    instanceId: 'instance-a',
    maxConcurrent: 1,
    queueLimit: 1_000,
    onError: (error) => expect.unreachable(String(error)),
  });
  onTestFinished(() => dispatcher.stop());
  const prompt = 'x'.repeat(4 * MiB);
  const first = recordOf();
  await dispatcher.dispatch(first);
  await expect.poll(() => dispatcher.load()).toEqual({ running: 1, waiting: 0 });
  const ids: string[] = [];
  while (ids.length < 64) {
    await dispatcher.assertRoom();
    const record = { ...recordOf(), directory: first.directory };
    await dispatcher.dispatch({ ...record, request: { ...record.request, prompt } });
    ids.push(record.execution.id);
  }
  await expect(dispatcher.assertRoom()).rejects.toMatchObject({ code: 'queue_full', data: { retryAfterMs: 5_000 } });
  expect(await dispatcher.withdraw(ids[0] ?? '')).toBe(true);
  await dispatcher.assertRoom();
});
