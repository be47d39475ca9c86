// promise: P2

import { describe, expect, test } from 'vitest';
import { DRAINED_BELOW_BYTES, EventWriter, MAX_PENDING_BYTES } from '../../src/event-log/event-writer.ts';
import { ServiceError } from '../../src/protocol/errors.ts';
import { ExecutionEvent, type StoredEvent } from '../../src/protocol/events.ts';
import type { Append } from '../../src/storage/storage.ts';
import { executionOf, finishedOf, SUCCEEDED } from '../support/execution-records.ts';

const FINISHED = { outcome: SUCCEEDED, receiptId: null };
const FULL = new ServiceError('storage_unavailable', 'the disk is full');
const STALE = new ServiceError('stale_writer', 'taken over');

/** A storage in memory whose next appends fail with `failure` while it is set, and that can be held. */
function memory() {
  const shown: StoredEvent[] = [];
  const failures: unknown[] = [];
  const appends: Append[] = [];
  const state: { failure: ServiceError | undefined; gate: Promise<void>; ends: number } = {
    failure: undefined,
    gate: Promise.resolve(),
    ends: 0,
  };
  const append = async (one: Append): Promise<void> => {
    await state.gate;
    if (state.failure !== undefined) {
      throw state.failure;
    }
    appends.push(one);
  };
  const execution = executionOf();
  const port = {
    storage: { append },
    stored: (events: readonly StoredEvent[]) => shown.push(...events),
    ended: () => {
      state.ends += 1;
    },
  };
  const onFailure = (error: unknown) => failures.push(error);
  const writer = new EventWriter(port, { executionId: execution.id, fence: 3, lastSeq: 1, onFailure });
  return { writer, state, shown, failures, appends, execution };
}

describe('EventWriter', () => {
  test('an event has its number at once and its bytes are a whole event', async () => {
    const { writer, shown, execution } = memory();
    expect(writer.append('claude.stderr', { text: 'a"b' })).toBe(2);
    expect(writer.appendRaw('claude.message', '{"type":"x",  "n":1.0}')).toBe(3);
    await writer.flush();
    const [first, second] = shown;
    expect(ExecutionEvent.parse(JSON.parse(String(first?.bytes)))).toMatchObject({
      executionId: execution.id,
      seq: 2,
      type: 'claude.stderr',
      data: { text: 'a"b' },
    });
    expect(second?.bytes).toMatch(
      /^\{"executionId":"[^"]+","seq":3,"time":"[^"]+Z","type":"claude\.message","data":\{/,
    );
    expect(second?.bytes.endsWith('"data":{"type":"x",  "n":1.0}}')).toBe(true);
    expect(writer.appendedBytes).toBe(shown.reduce((sum, event) => sum + Buffer.byteLength(event.bytes), 0));
    expect(writer.pendingBytes).toBe(0);
  });

  test('events that come together are stored together, with the newest record', async () => {
    const { writer, appends, execution } = memory();
    writer.append('claude.stderr', { text: '1' }, { ...execution, partialText: 'old' });
    writer.append('claude.stderr', { text: '2' }, { ...execution, partialText: 'new' });
    writer.append('claude.stderr', { text: '3' });
    await writer.flush();
    expect(appends).toMatchObject([{ fence: 3, events: [{ seq: 2 }, { seq: 3 }, { seq: 4 }] }]);
    expect(appends[0]?.execution?.partialText).toBe('new');
  });

  test('after a failure the events wait in order, one report is made, and a later flush stores them', async () => {
    const { writer, state, shown, failures } = memory();
    state.failure = FULL;
    writer.append('claude.stderr', { text: '1' });
    await expect(writer.flush()).rejects.toBe(FULL);
    writer.append('claude.stderr', { text: '2' });
    await expect(writer.flush()).rejects.toBe(FULL);
    expect([failures, shown]).toEqual([[FULL], []]);
    expect(writer.pendingBytes).toBe(writer.appendedBytes);
    state.failure = undefined;
    await writer.flush();
    expect(shown.map((event) => event.seq)).toEqual([2, 3]);
    state.failure = FULL;
    writer.append('claude.stderr', { text: '3' });
    await expect(writer.flush()).rejects.toBe(FULL);
    expect(failures).toEqual([FULL, FULL]);
  });

  test('a stale writer stays stale, and frees those that wait for it', async () => {
    const { writer, state, failures } = memory();
    state.failure = STALE;
    writer.appendRaw('claude.message', `"${'x'.repeat(DRAINED_BELOW_BYTES)}"`);
    const draining = writer.drained();
    await expect(writer.flush()).rejects.toBe(STALE);
    await expect(draining).rejects.toBe(STALE);
    state.failure = undefined;
    await expect(writer.flush()).rejects.toBe(STALE);
    expect(() => writer.append('claude.stderr', { text: '' })).toThrow(STALE);
    expect([failures, state.ends]).toEqual([[STALE], 1]);
  });

  test('back-pressure holds while much is pending and lets go when it is stored', async () => {
    const { writer, state } = memory();
    const gate = Promise.withResolvers<void>();
    state.gate = gate.promise;
    await writer.drained();
    writer.appendRaw('claude.message', `"${'x'.repeat(DRAINED_BELOW_BYTES)}"`);
    let drained = false;
    const draining = writer.drained().then(() => {
      drained = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(drained).toBe(false);
    gate.resolve();
    await draining;
    expect(writer.pendingBytes).toBe(0);
  });

  test('past the bound of what may wait an append is refused and takes no number', async () => {
    const { writer, state } = memory();
    state.failure = FULL;
    writer.appendRaw('claude.message', `"${'x'.repeat(MAX_PENDING_BYTES)}"`);
    const append = () => writer.append('claude.stderr', { text: '' });
    expect(append).toThrow(expect.objectContaining({ code: 'storage_unavailable' }));
    expect(writer.lastSeq).toBe(2);
    state.failure = undefined;
    await writer.flush();
    expect(append()).toBe(3);
    await writer.flush();
  });

  test('the last event goes with the finished record, and nothing comes after it', async () => {
    const { writer, appends, state, execution } = memory();
    const finished = finishedOf(execution);
    writer.append('claude.stderr', { text: '1' });
    writer.append('execution.finished', FINISHED, finished);
    expect(() => writer.append('claude.stderr', { text: '2' })).toThrow('has its last event');
    await writer.flush();
    expect(appends.at(-1)?.events.at(-1)?.type).toBe('execution.finished');
    expect(appends.at(-1)?.execution).toEqual(finished);
    expect(state.ends).toBe(1);
  });

  test('a closed writer has stored what it was given and takes no more', async () => {
    const { writer, shown, state } = memory();
    writer.append('claude.stderr', { text: '1' });
    await writer.close();
    expect(shown.map((event) => event.seq)).toEqual([2]);
    expect(() => writer.append('claude.stderr', { text: '2' })).toThrow();
    expect(state.ends).toBe(1);
  });
});
