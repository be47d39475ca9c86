// promise: P9

import { readdir, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import { has } from '../support/capabilities.ts';
import { eventOf, eventsOf, executionOf, finishOf, recordOf } from '../support/execution-records.ts';
import { smallDisk } from '../support/small-disk.ts';
import { spoolFixture, spoolOn, switchable } from '../support/switched-storage.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const ALL = { after: 0, limit: 5_000, maxBytes: 64 * 1024 * 1024 };
const DAY_MS = 24 * 3_600_000;

describe('the disk of the spool', () => {
  test('past the limit an append is refused as without a spool, the end of a run still fits, and space comes back', async () => {
    const { inner, state, spooling, create, emptied } = await spoolFixture({ maxBytes: 64 * 1024 });
    const record = await create();
    const executionId = record.execution.id;
    state.availability = 'away';
    await spooling.append({ executionId, fence: 1, events: [eventOf(2, 'x'.repeat(59_000))] });
    const refused = spooling.append({ executionId, fence: 1, events: [eventOf(3, 'x'.repeat(3_000))] });
    await expect(refused).rejects.toMatchObject({ code: 'storage_unavailable', data: { retryAfterMs: 2_000 } });
    await spooling.append(finishOf(record, 3));
    state.availability = 'there';
    await emptied();
    expect((await inner.readEvents(executionId, ALL)).events.map(({ type }) => type)).toEqual([
      'execution.queued',
      'claude.stderr',
      'execution.finished',
    ]);
    const next = (await create()).execution.id;
    state.availability = 'away';
    await spooling.append({ executionId: next, fence: 1, events: [eventOf(2, 'x'.repeat(59_000))] });
    expect(spooling.spooling()).toBe(1);
  });

  test.runIf(has('mount'))('on a full disk an append is refused, and goes on behind the last whole one', async () => {
    const inner = await openSqliteStorage({ dataDirectory: await temporaryFolder() });
    const { storage, state } = switchable(inner);
    const { path } = smallDisk(1);
    const spooling = await spoolOn(storage, { folder: join(path, 'spool') });
    const { execution } = (await inner.createExecution(recordOf(), eventOf(1))).record;
    state.availability = 'away';
    const executionId = execution.id;
    await spooling.append({ executionId, fence: 1, events: [eventOf(2)] });
    const tooMuch = spooling.append({ executionId, fence: 1, events: [eventOf(3, 'x'.repeat(2_000_000))] });
    await expect(tooMuch).rejects.toMatchObject({
      code: 'storage_unavailable',
      message: expect.stringContaining('ENOSPC'),
    });
    await spooling.append({ executionId, fence: 1, events: [eventOf(3)] });
    state.availability = 'there';
    await spooling.takeOver(executionId, 1, 'instance-b');
    expect((await inner.readEvents(executionId, ALL)).events).toEqual(eventsOf(1, 3));
    await spooling.close();
  });

  test('what lies where a spool file is to be made is no part of it', async () => {
    const { state, folder, spooling, create } = await spoolFixture();
    const executionId = (await create()).execution.id;
    const file = join(folder, `${executionId}.jsonl`);
    await writeFile(file, 'something else, and longer\n'.repeat(100));
    state.availability = 'away';
    const events = [eventOf(2)];
    await spooling.append({ executionId, fence: 1, events });
    expect(await readFile(file, 'utf8')).toBe(`${JSON.stringify({ fence: 1, events })}\n`);
    state.availability = 'there';
  });

  test('a folder that another living process spools in is refused, and so is a file', async () => {
    const { inner, folder } = await spoolFixture();
    await expect(spoolOn(inner, { folder })).rejects.toMatchObject({ code: 'data_folder_unusable' });
    const file = join(folder, 'a-file');
    await writeFile(file, '');
    await expect(spoolOn(inner, { folder: file })).rejects.toMatchObject({ code: 'data_folder_unusable' });
  });

  test('refused files go after 7 days, and before that when they hold more than the spool may', async () => {
    const dataDirectory = await temporaryFolder();
    const inner = await openSqliteStorage({ dataDirectory });
    const folder = join(dataDirectory, 'spool');
    await (await spoolOn(switchable(inner).storage, { folder })).close();
    const ages = [8, 3, 2, 1];
    const names = ages.map(() => `${executionOf().id}.refused`);
    for (const [at, name] of names.entries()) {
      const file = join(folder, name);
      await writeFile(file, '');
      await truncate(file, 400);
      const time = new Date(Date.now() - (ages[at] ?? 0) * DAY_MS);
      await utimes(file, time, time);
    }
    await spoolOn(await openSqliteStorage({ dataDirectory }), { folder, maxBytes: 1_000 });
    expect((await readdir(folder)).filter((name) => name.endsWith('.refused')).sort()).toEqual(names.slice(2).sort());
  });

  test('many appends of one execution are read back in pieces', async () => {
    const { inner, state, folder, spooling, create, emptied } = await spoolFixture();
    const executionId = (await create()).execution.id;
    state.availability = 'away';
    const events = Array.from({ length: 40 }, (_, at) => eventOf(at + 2, String(at % 10).repeat(at * 5_000)));
    for (const event of events) await spooling.append({ executionId, fence: 1, events: [event] });
    expect((await stat(join(folder, `${executionId}.jsonl`))).size).toBeGreaterThan(3_000_000);
    state.availability = 'there';
    await emptied();
    expect((await inner.readEvents(executionId, ALL)).events.slice(1)).toEqual(events);
  });
});
