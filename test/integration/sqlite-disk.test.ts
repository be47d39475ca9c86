import { closeSync, existsSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EventLog } from '../../src/event-log/event-log.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { ExecutionRecord, Storage } from '../../src/storage/storage.ts';
import { has } from '../support/capabilities.ts';
import { range, readSeqs } from '../support/event-log-fixture.ts';
import { eventOf, finishedOf, recordOf, SUCCEEDED } from '../support/execution-records.ts';
import { smallDisk } from '../support/small-disk.ts';

const FINISHED = { outcome: SUCCEEDED, receiptId: null };

/** Writes a file until the disk has no byte left. */
function fill(file: string): void {
  const descriptor = openSync(file, 'a');
  try {
    for (const size of [65_536, 4_096, 1]) {
      fillBy(descriptor, size);
    }
  } finally {
    closeSync(descriptor);
  }
}

function fillBy(descriptor: number, size: number): void {
  const block = Buffer.alloc(size, 1);
  for (;;) {
    try {
      writeSync(descriptor, block);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') {
        return;
      }
      throw error;
    }
  }
}

async function openOn(path: string): Promise<{ storage: Storage; record: ExecutionRecord; dataDirectory: string }> {
  const dataDirectory = join(path, 'data');
  const storage = await openSqliteStorage({ dataDirectory });
  onTestFinished(() => storage.close());
  const { record } = await storage.createExecution(recordOf(), eventOf(1));
  return { storage, record, dataDirectory };
}

describe.runIf(has('mount'))('a disk that takes no more', () => {
  test('when it is full an append is refused whole, and stored when there is room again', async () => {
    const { path } = smallDisk(8);
    const { storage, record } = await openOn(path);
    const filler = join(path, 'filler');
    fill(filler);
    const id = record.execution.id;
    const events = range(2, 400).map((seq) => eventOf(seq, 'x'.repeat(2_000)));
    const append = { executionId: id, fence: 1, events, execution: { ...record.execution, partialText: 'more' } };
    await expect(storage.append(append)).rejects.toMatchObject({ code: 'storage_unavailable' });
    expect(await storage.readEvents(id, { after: 0, limit: 9, maxBytes: 99_999 })).toMatchObject({ lastSeq: 1 });
    expect((await storage.getExecution('local', id))?.execution.partialText).toBe('');
    rmSync(filler);
    await storage.append(append);
    expect((await storage.getExecution('local', id))?.execution).toMatchObject({ lastSeq: 400, partialText: 'more' });
  });

  test('when it is full the end of a run is stored all the same, with the events that wait for it', async () => {
    const { path } = smallDisk(8);
    const { storage, record, dataDirectory } = await openOn(path);
    const filler = join(path, 'filler');
    const log = new EventLog(storage);
    const id = record.execution.id;
    const failures: unknown[] = [];
    const writer = log.openWriter({
      executionId: id,
      fence: 1,
      lastSeq: 1,
      onFailure: (error) => failures.push(error),
    });
    fill(filler);
    while (failures.length === 0) {
      writer.append('claude.stderr', { text: 'x'.repeat(4_000) });
      await writer.flush().catch(() => undefined);
    }
    for (let count = 0; count < 50; count += 1) {
      writer.append('claude.stderr', { text: 'x'.repeat(4_000) });
    }
    await expect(writer.flush()).rejects.toMatchObject({ code: 'storage_unavailable' });
    const last = writer.append('execution.finished', FINISHED, finishedOf(record.execution));
    await writer.flush();
    expect(await readSeqs(log.subscribe(id, { after: 0 }))).toEqual(range(1, last));
    expect((await storage.getExecution('local', id))?.execution.state).toBe('finished');
    expect(existsSync(join(dataDirectory, 'reserve'))).toBe(false);

    fill(filler);
    await expect(storage.probe()).rejects.toMatchObject({ code: 'storage_unavailable' });
    rmSync(filler);
    await storage.probe();
    expect(statSync(join(dataDirectory, 'reserve')).size).toBe(1024 * 1024);
  });

  test('a new folder on a full disk is refused as unavailable, not as unusable', async () => {
    const { path } = smallDisk(1);
    fill(join(path, 'filler'));
    const opening = openSqliteStorage({ dataDirectory: join(path, 'data') });
    await expect(opening).rejects.toMatchObject({ code: 'storage_unavailable' });
  });

  test('a folder that is read-only is refused with its path and what to do', async () => {
    const disk = smallDisk(4);
    const { storage, dataDirectory } = await openOn(disk.path);
    await storage.close();
    disk.makeReadOnly();
    for (const folder of [dataDirectory, join(disk.path, 'new')]) {
      const opening = openSqliteStorage({ dataDirectory: folder });
      await expect(opening).rejects.toMatchObject({ code: 'data_folder_unusable' });
      await expect(opening).rejects.toThrow(folder);
      await expect(opening).rejects.toThrow('choose a local, writable folder');
    }
  });
});
