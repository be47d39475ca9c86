// promise: P1, P2

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { ExecutionRecord, Storage } from '../../src/storage/storage.ts';
import { range } from '../support/event-log-fixture.ts';
import { eventOf, recordOf } from '../support/execution-records.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const APPENDER = join(import.meta.dirname, '../fixtures/store-appender.ts');
const CRASHES = 24;

interface Appender {
  child: ChildProcessByStdio<null, Readable, Readable>;
  closed: Promise<unknown>;
  /** The highest `seq` the child has reported as stored. */
  reported(): number;
  errors(): string;
}

function startAppender(dataDirectory: string, record: ExecutionRecord, lastSeq: number): Appender {
  const args = [APPENDER, dataDirectory, record.execution.id, String(record.fence), String(lastSeq)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output = (output + chunk).slice(-100);
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  const reported = (): number => Number(output.split('\n').at(-2) ?? lastSeq);
  return { child, closed: once(child, 'close'), reported, errors: () => errors };
}

async function until(condition: () => boolean, explain: () => string): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > deadline) {
      throw new Error(`the condition did not come true: ${explain()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function kill({ child, closed }: Appender): Promise<void> {
  child.kill('SIGKILL');
  await closed;
}

async function allSeqs(storage: Storage, id: string): Promise<number[]> {
  const seqs: number[] = [];
  for (;;) {
    const page = await storage.readEvents(id, { after: seqs.length, limit: 5_000, maxBytes: 64 * 1024 * 1024 });
    seqs.push(...page.events.map((event) => event.seq));
    if (seqs.length === page.lastSeq) {
      return seqs;
    }
  }
}

async function createIn(dataDirectory: string): Promise<ExecutionRecord> {
  const storage = await openSqliteStorage({ dataDirectory });
  const { record } = await storage.createExecution(recordOf(), eventOf(1));
  await storage.close();
  return record;
}

describe('a store that several processes use', () => {
  test('after kill -9 at any point the log has no gap and holds all that was reported as stored', async () => {
    const dataDirectory = await temporaryFolder();
    const record = await createIn(dataDirectory);
    let last = 1;
    for (let crash = 0; crash < CRASHES; crash += 1) {
      const appender = startAppender(dataDirectory, record, last);
      const target = last + Math.floor(Math.random() * 300);
      await until(() => appender.reported() > target, appender.errors);
      await kill(appender);
      const storage = await openSqliteStorage({ dataDirectory });
      const seqs = await allSeqs(storage, record.execution.id);
      await storage.close();
      expect(seqs).toEqual(range(1, seqs.length));
      expect(seqs.length).toBeGreaterThanOrEqual(appender.reported());
      last = seqs.length;
    }
  });

  test('two processes write at once, and each log is whole', async () => {
    const dataDirectory = await temporaryFolder();
    const records = [await createIn(dataDirectory), await createIn(dataDirectory)];
    const appenders = records.map((record) => startAppender(dataDirectory, record, 1));
    const storage = await openSqliteStorage({ dataDirectory });
    onTestFinished(() => storage.close());
    for (const appender of appenders) {
      await until(() => appender.reported() > 1_000, appender.errors);
    }
    // A third one writes meanwhile: none of them starves.
    await storage.createExecution(recordOf(), eventOf(1));
    for (const [index, appender] of appenders.entries()) {
      await kill(appender);
      const seqs = await allSeqs(storage, String(records[index]?.execution.id));
      expect(seqs).toEqual(range(1, seqs.length));
      expect(seqs.length).toBeGreaterThanOrEqual(appender.reported());
    }
  });

  test('two processes never write one log: one goes on, the other is refused', async () => {
    const dataDirectory = await temporaryFolder();
    const record = await createIn(dataDirectory);
    const appenders = [startAppender(dataDirectory, record, 1), startAppender(dataDirectory, record, 1)];
    const refused = (): boolean => appenders.some((appender) => appender.errors().includes('stale_writer'));
    await until(refused, () => 'neither was refused');
    for (const appender of appenders) {
      await kill(appender);
    }
    const storage = await openSqliteStorage({ dataDirectory });
    onTestFinished(() => storage.close());
    const seqs = await allSeqs(storage, record.execution.id);
    expect(seqs).toEqual(range(1, seqs.length));
  });

  test('many openers of a new folder all get the same store', async () => {
    const dataDirectory = await temporaryFolder();
    const stores = await Promise.all(Array.from({ length: 8 }, () => openSqliteStorage({ dataDirectory })));
    onTestFinished(async () => {
      await Promise.all(stores.map((store) => store.close()));
    });
    await stores[0]?.createExecution(recordOf(), eventOf(1));
    for (const store of stores) {
      expect(await store.listUnfinished()).toHaveLength(1);
    }
  });
});
