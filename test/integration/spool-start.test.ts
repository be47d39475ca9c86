// promise: P9

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openRedisStorage } from '../../src/storage/redis/redis-storage.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { has } from '../support/capabilities.ts';
import { range } from '../support/event-log-fixture.ts';
import { eventOf, eventsOf, executionOf, finishOf, recordOf } from '../support/execution-records.ts';
import { waitUntil } from '../support/processes.ts';
import { openOn, redisServer } from '../support/redis-server.ts';
import { recordingLog, spoolFixture, spoolOn, switchable } from '../support/switched-storage.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const APPENDER = join(import.meta.dirname, '../fixtures/spool-appender.ts');

function startAppender(...args: string[]): { child: ChildProcess; reported: () => number } {
  const child = spawn(process.execPath, [APPENDER, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    output = (output + chunk).slice(-100);
  });
  return { child, reported: () => Number(output.split('\n').at(-2) ?? 1) };
}

async function seqs(storage: Storage, id: string): Promise<number[]> {
  const found: number[] = [];
  for (;;) {
    const page = await storage.readEvents(id, { after: found.length, limit: 5_000, maxBytes: 8 * 1024 * 1024 });
    found.push(...page.events.map(({ seq }) => seq));
    if (found.length === page.lastSeq) return found;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name !== 'lock');
}

/** An execution whose events 2 to 9 are in the spool of a service that has ended, in three lines. */
async function leftSpool(): Promise<{ dataDirectory: string; folder: string; file: string; executionId: string }> {
  const dataDirectory = await temporaryFolder();
  const inner = await openSqliteStorage({ dataDirectory });
  const { storage, state } = switchable(inner);
  const folder = join(dataDirectory, 'spool');
  const spooling = await spoolOn(storage, { folder });
  const executionId = (await inner.createExecution(recordOf(), eventOf(1))).record.execution.id;
  state.availability = 'away';
  for (const [from, to] of [
    [2, 4],
    [5, 7],
    [8, 9],
  ] as const) {
    await spooling.append({ executionId, fence: 1, events: eventsOf(from, to) });
  }
  await spooling.close();
  return { dataDirectory, folder, file: join(folder, `${executionId}.jsonl`), executionId };
}

describe.runIf(has('redis'))('a service that is killed while it spools', () => {
  test.each(['killed', 'frozen'] as const)(
    'has lost nothing that was acknowledged, by the time the next one has started (Redis %s)',
    async (trouble) => {
      const server = await redisServer();
      const folder = join(await temporaryFolder(), 'spool');
      const { record } = await (await openOn(server)).createExecution(recordOf(), eventOf(1));
      const { id } = record.execution;
      const { child, reported } = startAppender(server.url, folder, id, '1');
      await waitUntil('the child to write', () => reported() > 100);
      const pid = server.pid();
      onTestFinished(() => void (trouble === 'frozen' && process.kill(pid, 'SIGCONT')));
      if (trouble === 'killed') await server.kill();
      else process.kill(pid, 'SIGSTOP');
      const file = await waitUntil('a spool', async () =>
        (await readdir(folder)).find((name) => name === `${id}.jsonl`),
      );
      const then = reported();
      await waitUntil('more to be spooled', () => reported() > then + 200);
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      await appendFile(join(folder, file), '{"fence":1,"events":[{"seq":');
      if (trouble === 'killed') await server.start();
      else process.kill(pid, 'SIGCONT');
      const spooling = await spoolOn(await openRedisStorage({ url: server.url }), { folder });
      expect([spooling.spooling(), await namesIn(folder)]).toEqual([0, []]);
      const stored = await seqs(spooling, id);
      expect(stored.length).toBeGreaterThanOrEqual(reported());
      expect(stored).toEqual(range(1, stored.length));
    },
  );
});

describe('the spool of an earlier life', () => {
  test('is stored before the service starts, and what is stored already is left as it is', async () => {
    const { dataDirectory, folder, file, executionId } = await leftSpool();
    const whole = await readFile(file);
    const log = recordingLog();
    const first = await spoolOn(await openSqliteStorage({ dataDirectory }), { folder, logger: log });
    expect(await seqs(first, executionId)).toEqual(range(1, 9));
    expect(log.lines.map(({ level, fields }) => ({ level, ...fields }))).toEqual([
      { level: 'warn', executions: 1, bytes: whole.length },
      { level: 'info', executions: 1, events: 8, bytes: whole.length, rejected: 0, durationMs: expect.any(Number) },
    ]);
    await first.close();
    await writeFile(file, whole);
    const twice = await spoolOn(await openSqliteStorage({ dataDirectory }), { folder });
    expect([await seqs(twice, executionId), await namesIn(folder)]).toEqual([range(1, 9), []]);
  });

  test('that was stored to its end before is not taken for a stranger, though it holds a record alone', async () => {
    const { state, spooling, folder, create, emptied } = await spoolFixture();
    const record = await create();
    const { id } = record.execution;
    state.availability = 'away';
    await spooling.append({ executionId: id, fence: 1, events: [eventOf(2)] });
    await spooling.updateExecution(id, 1, { ...record.execution, partialText: 'older' });
    await spooling.append(finishOf(record, 3));
    const file = join(folder, `${id}.jsonl`);
    const whole = await readFile(file);
    state.availability = 'there';
    await emptied();
    await spooling.close();
    await writeFile(file, whole);
    const storage = await openSqliteStorage({ dataDirectory: dirname(folder) });
    const again = await spoolOn(storage, { folder });
    expect([await seqs(again, id), await namesIn(folder)]).toEqual([[1, 2, 3], []]);
    expect((await again.getExecution('local', id))?.execution).toMatchObject({ state: 'finished', partialText: '' });
  });

  test('of which a part of one append is stored already has the rest of it stored', async () => {
    const { dataDirectory, folder, executionId } = await leftSpool();
    const storage = await openSqliteStorage({ dataDirectory });
    await storage.append({ executionId, fence: 1, events: eventsOf(2, 6) });
    const spooling = await spoolOn(storage, { folder });
    expect(await seqs(spooling, executionId)).toEqual(range(1, 9));
  });

  test('that differs from what the store has is set aside, though its sequence fits', async () => {
    const { dataDirectory, folder, executionId } = await leftSpool();
    const storage = await openSqliteStorage({ dataDirectory });
    await storage.append({ executionId, fence: 1, events: [eventOf(2, 'different')] });
    const spooling = await spoolOn(storage, { folder });
    expect([await seqs(spooling, executionId), await namesIn(folder)]).toEqual([[1, 2], [`${executionId}.refused`]]);
  });

  test('that is damaged is stored up to there and set aside, and one that was cut in its first line is removed', async () => {
    const { dataDirectory, folder, file, executionId } = await leftSpool();
    const [first = '', second = '', third = ''] = (await readFile(file, 'utf8')).split('\n');
    await writeFile(file, `${first}\n${second.slice(0, -9)}\n${third}\n`);
    const damaged = executionOf().id;
    await writeFile(join(folder, `${damaged}.jsonl`), '\0\0\n');
    await writeFile(join(folder, `${executionOf().id}.jsonl`), '{"fence":');
    const spooling = await spoolOn(await openSqliteStorage({ dataDirectory }), { folder });
    expect(await seqs(spooling, executionId)).toEqual(range(1, 4));
    expect((await namesIn(folder)).sort()).toEqual([`${damaged}.refused`, `${executionId}.refused`].sort());
  });

  test('waits for a store that does not answer at the start, and the service starts without it', async () => {
    const { dataDirectory, folder, executionId } = await leftSpool();
    const inner = await openSqliteStorage({ dataDirectory });
    const { storage, state } = switchable(inner);
    state.availability = 'away';
    const spooling = await spoolOn(storage, { folder });
    expect(spooling.spooling()).toBe(1);
    state.availability = 'there';
    await waitUntil('the spool to be empty', () => spooling.spooling() === 0);
    expect(await seqs(inner, executionId)).toEqual(range(1, 9));
  });

  test('is not left behind when the store takes it while the service closes', async () => {
    const { state, spooling, folder, create } = await spoolFixture();
    const executionId = (await create()).execution.id;
    state.availability = 'away';
    await spooling.append({ executionId, fence: 1, events: eventsOf(2, 9) });
    state.availability = 'there';
    await spooling.close();
    expect(await namesIn(folder)).toEqual([]);
    const storage = await openSqliteStorage({ dataDirectory: dirname(folder) });
    onTestFinished(() => storage.close());
    expect(await seqs(storage, executionId)).toEqual(range(1, 9));
  });

  test('after it is closed nothing more is spooled', async () => {
    const { state, spooling, folder, create } = await spoolFixture();
    const executionId = (await create()).execution.id;
    await spooling.close();
    state.availability = 'away';
    const late = spooling.append({ executionId, fence: 1, events: [eventOf(2)] });
    await expect(late).rejects.toMatchObject({ code: 'storage_unavailable' });
    expect(await namesIn(folder)).toEqual([]);
  });
});
