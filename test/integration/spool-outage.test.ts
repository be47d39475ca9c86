// promise: P9

import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { StoredEvent } from '../../src/protocol/events.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { range } from '../support/event-log-fixture.ts';
import { eventOf, eventsOf, executionOf, finishOf } from '../support/execution-records.ts';
import { waitUntil } from '../support/processes.ts';
import { type SpoolFixture, spoolFixture } from '../support/switched-storage.ts';

const ALL = { after: 0, limit: 5_000, maxBytes: 64 * 1024 * 1024 };

async function eventsIn(storage: Storage, id: string): Promise<StoredEvent[]> {
  return (await storage.readEvents(id, ALL)).events;
}

async function filesIn({ folder }: SpoolFixture): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name !== 'lock').sort();
}

describe('while the store is away', () => {
  test('appends are kept in a file that only the service may read, and are stored to the byte when it is back', async () => {
    const fixture = await spoolFixture();
    const { inner, state, folder, spooling, create, emptied } = fixture;
    const record = await create();
    const executionId = record.execution.id;
    state.availability = 'away';
    const strange = eventOf(3, 'line\u2028separator, \u0000, \ud800 and "quotes"\\');
    await spooling.append({ executionId, fence: 1, events: [eventOf(2), strange] });
    await spooling.append(finishOf(record, 4));
    expect(spooling.spooling()).toBe(1);
    const file = join(folder, `${executionId}.jsonl`);
    expect((await readFile(file, 'utf8')).trimEnd().split('\n')).toHaveLength(2);
    expect([(await stat(folder)).mode & 0o777, (await stat(file)).mode & 0o777]).toEqual([0o700, 0o600]);
    state.availability = 'there';
    await emptied();
    expect(await eventsIn(inner, executionId)).toEqual([
      eventOf(1),
      eventOf(2),
      strange,
      finishOf(record, 4).events[0],
    ]);
    expect((await inner.getExecution('local', executionId))?.execution.outcome?.kind).toBe('succeeded');
    expect(await filesIn(fixture)).toEqual([]);
  });

  test('appends that come at once keep their order, also those that come while the spool is replayed', async () => {
    const { inner, state, spooling, create, emptied } = await spoolFixture();
    const executionId = (await create()).execution.id;
    let seq = 1;
    const appendSome = (count: number): Promise<void>[] =>
      range(1, count).map(() => {
        seq += 2;
        return spooling.append({ executionId, fence: 1, events: eventsOf(seq - 1, seq) });
      });
    await Promise.all(appendSome(20));
    const under = appendSome(10);
    state.availability = 'away';
    await Promise.all([...under, ...appendSome(40)]);
    state.availability = 'there';
    while (spooling.spooling() > 0) await Promise.all(appendSome(3));
    await Promise.all(appendSome(5));
    await emptied();
    expect(await eventsIn(inner, executionId)).toEqual(eventsOf(1, seq));
  });

  test('an execution that is spooled stays in its file until the store has taken all of it', async () => {
    const { inner, state, spooling, create, emptied } = await spoolFixture();
    const executionId = (await create()).execution.id;
    Object.assign(state, { availability: 'away', appends: 'away' });
    await spooling.append({ executionId, fence: 1, events: [eventOf(2)] });
    state.appends = 'there';
    await spooling.append({ executionId, fence: 1, events: [eventOf(3)] });
    expect(await eventsIn(inner, executionId)).toEqual([eventOf(1)]);
    state.availability = 'there';
    await emptied();
    await spooling.append({ executionId, fence: 1, events: [eventOf(4)] });
    expect(await eventsIn(inner, executionId)).toEqual(eventsOf(1, 4));
  });

  test('what the store refuses for another reason is refused, and nothing is spooled', async () => {
    const fixture = await spoolFixture();
    const { spooling, create, log } = fixture;
    const executionId = (await create()).execution.id;
    const stranger = executionOf().id;
    await expect(spooling.append({ executionId, fence: 0, events: [eventOf(2)] })).rejects.toMatchObject({
      code: 'stale_writer',
    });
    await expect(spooling.append({ executionId: stranger, fence: 1, events: [eventOf(2)] })).rejects.toMatchObject({
      code: 'not_found',
    });
    expect([spooling.spooling(), await filesIn(fixture), log.lines]).toEqual([0, [], []]);
  });

  test('what the store would refuse is not taken by the spool: a gap, another writer, more after the end', async () => {
    const { state, spooling, create } = await spoolFixture();
    const record = await create();
    const executionId = record.execution.id;
    state.availability = 'away';
    await spooling.append({ executionId, fence: 1, events: [eventOf(2)] });
    const stale = { code: 'stale_writer' };
    await expect(spooling.append({ executionId, fence: 1, events: [eventOf(4)] })).rejects.toMatchObject(stale);
    await expect(spooling.append({ executionId, fence: 0, events: [eventOf(3)] })).rejects.toMatchObject(stale);
    await spooling.append(finishOf(record, 3));
    await expect(spooling.append({ executionId, fence: 1, events: [eventOf(4)] })).rejects.toMatchObject(stale);
  });

  test('the start of a run is not spooled, because another service may start what the store has as queued', async () => {
    const { state, spooling, create } = await spoolFixture();
    const { execution } = await create();
    state.availability = 'away';
    const running = { ...execution, state: 'running' as const };
    const starting = spooling.updateExecution(execution.id, 1, running);
    await expect(starting).rejects.toMatchObject({ code: 'storage_unavailable' });
    expect(spooling.spooling()).toBe(0);
    await spooling.append({ executionId: execution.id, fence: 1, events: [eventOf(2)] });
    await spooling.updateExecution(execution.id, 1, { ...running, partialText: 'x' });
    expect(spooling.spooling()).toBe(1);
  });

  test('the log has a line when an outage begins and one with the counts when it ends, and no contents', async () => {
    const { state, spooling, create, log, emptied } = await spoolFixture();
    const ids = [(await create()).execution.id, (await create()).execution.id];
    for (let outage = 0; outage < 2; outage += 1) {
      state.availability = 'away';
      for (const executionId of ids) {
        for (let count = 0; count < 25; count += 1) {
          const seq = 2 + 25 * outage + count;
          await spooling.append({ executionId, fence: 1, events: [eventOf(seq, 'secret')] });
        }
      }
      state.availability = 'there';
      await emptied();
    }
    const [begin, end] = ['the store is away; events are spooled to the disk', 'the spool is empty'];
    expect(log.lines.map(({ message }) => message)).toEqual([begin, end, begin, end]);
    expect(log.lines[1]?.fields).toEqual({
      executions: 2,
      events: 50,
      bytes: expect.any(Number),
      rejected: 0,
      durationMs: expect.any(Number),
    });
    expect(JSON.stringify(log.lines)).not.toContain('secret');
  });

  test('claims that cannot be given back now are given back later, and who gives them back does not wait', async () => {
    const { inner, state, spooling, create } = await spoolFixture();
    const executionId = (await create()).execution.id;
    const other = (await create()).execution.id;
    await inner.registerInstance('i');
    await spooling.claim(['workspace:w'], { executionId, instanceId: 'i' });
    state.availability = 'away';
    await spooling.releaseClaims(executionId);
    const claim = (): Promise<string | undefined> =>
      inner.claim(['workspace:w'], { executionId: other, instanceId: 'i' });
    expect(await claim()).toBe(executionId);
    state.availability = 'there';
    await waitUntil('the claim to be free', async () => (await claim()) === undefined);
  });

  test('a replayed append whose answer was lost is not stored twice', async () => {
    const { inner, state, spooling, create, emptied } = await spoolFixture();
    const record = await create();
    const executionId = record.execution.id;
    state.appends = 'mute';
    await spooling.append({ executionId, fence: 1, events: eventsOf(2, 5) });
    await spooling.append({ executionId, fence: 1, events: [eventOf(6)] });
    await spooling.append(finishOf(record, 7));
    await waitUntil('a replay', async () => (await eventsIn(inner, executionId)).length > 5);
    state.appends = 'there';
    await emptied();
    expect((await eventsIn(inner, executionId)).map(({ seq }) => seq)).toEqual(range(1, 7));
  });
});

describe('when another writer has the execution by the time the store is back', () => {
  test('its spool is kept aside and its writer refused, and other executions are stored', async () => {
    const fixture = await spoolFixture();
    const { inner, state, spooling, create, log, emptied } = fixture;
    const [lost, kept] = [await create(), await create()];
    const id = lost.execution.id;
    state.availability = 'away';
    for (const { execution } of [lost, kept]) {
      await spooling.append({ executionId: execution.id, fence: 1, events: eventsOf(2, 4) });
      await spooling.append({ executionId: execution.id, fence: 1, events: [eventOf(5)] });
    }
    await inner.takeOver(id, 1, 'instance-b');
    await inner.append({ ...finishOf(lost, 2), fence: 2 });
    state.availability = 'there';
    await emptied();
    expect(await eventsIn(inner, kept.execution.id)).toEqual(eventsOf(1, 5));
    expect((await eventsIn(inner, id)).map(({ seq }) => seq)).toEqual([1, 2]);
    expect(await filesIn(fixture)).toEqual([`${id}.refused`]);
    const warnings = log.lines.filter(({ level }) => level === 'warn').slice(1);
    expect(warnings).toMatchObject([{ fields: { executionId: id, events: 4, bytes: expect.any(Number) } }]);
    state.availability = 'away';
    const late = spooling.append({ executionId: id, fence: 1, events: [eventOf(6)] });
    await expect(late).rejects.toMatchObject({ code: 'stale_writer' });
  });

  test('a writer with a newer fence is not held up by the older one', async () => {
    const { inner, state, spooling, create, folder } = await spoolFixture();
    const executionId = (await create()).execution.id;
    state.availability = 'away';
    await spooling.append({ executionId, fence: 1, events: [eventOf(2)] });
    await inner.takeOver(executionId, 1, 'instance-b');
    state.appends = 'there';
    await spooling.append({ executionId, fence: 2, events: [eventOf(2, 'newer')] });
    expect(await eventsIn(inner, executionId)).toEqual([eventOf(1), eventOf(2, 'newer')]);
    expect(existsSync(join(folder, `${executionId}.refused`))).toBe(true);
  });

  test('a take-over through this process first stores what is spooled here', async () => {
    const { inner, state, spooling, create } = await spoolFixture();
    const executionId = (await create()).execution.id;
    state.availability = 'away';
    await spooling.append({ executionId, fence: 1, events: eventsOf(2, 9) });
    const away = spooling.takeOver(executionId, 1, 'instance-b');
    await expect(away).rejects.toMatchObject({ code: 'storage_unavailable' });
    state.availability = 'there';
    expect((await spooling.takeOver(executionId, 1, 'instance-b'))?.fence).toBe(2);
    expect(await eventsIn(inner, executionId)).toEqual(eventsOf(1, 9));
  });
});
