import { expect, onTestFinished, test } from 'vitest';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import { eventOf, eventsOf, recordOf } from '../support/execution-records.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

test('a write that fails half-way leaves nothing behind, and those that share its transaction are stored', async () => {
  const storage = await openSqliteStorage({ dataDirectory: await temporaryFolder() });
  onTestFinished(() => storage.close());
  const [broken, whole] = [recordOf(), recordOf()];
  await storage.createExecution(broken, eventOf(1));
  await storage.createExecution(whole, eventOf(1));
  const metadata = {
    get team(): string {
      throw new Error('the record cannot be written as JSON');
    },
  };
  const results = await Promise.allSettled([
    storage.append({
      executionId: broken.execution.id,
      fence: 1,
      events: eventsOf(2, 3),
      execution: Object.defineProperties({ ...broken.execution }, { metadata: { value: metadata, enumerable: true } }),
    }),
    storage.append({ executionId: whole.execution.id, fence: 1, events: eventsOf(2, 3) }),
  ]);
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  const page = { after: 0, limit: 10, maxBytes: 10_000 };
  expect((await storage.readEvents(broken.execution.id, page)).events).toEqual([eventOf(1)]);
  expect((await storage.readEvents(whole.execution.id, page)).events).toEqual(eventsOf(1, 3));
});
