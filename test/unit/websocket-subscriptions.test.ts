import { describe, expect, test } from 'vitest';
import { ServiceError } from '../../src/protocol/errors.ts';
import { newId } from '../../src/protocol/ids.ts';
import { range } from '../support/event-log-fixture.ts';
import { executionOf } from '../support/execution-records.ts';
import { doorFixture, KEY, type Message, Peer, until } from '../support/linked-socket.ts';

const call = (method: string, id: number | string, params?: unknown): object => ({
  jsonrpc: '2.0',
  method,
  params,
  id,
});
const isClosed = ({ method }: Message): boolean => method === 'subscription.closed';

describe('execute', () => {
  test('its answer comes before the first event, in batches too', async () => {
    const { door, finish } = await doorFixture();
    const peer = new Peer(door);
    const { result } = await peer.call('execute', { prompt: 'x' });
    peer.send([call('execute', 'e', { prompt: 'y' }), call('executions.get', 'g', { executionId: result.id })]);
    const inBatch = (await peer.message(({ id }) => id === 'e')).result;
    await finish(inBatch);
    await peer.message(isClosed);
    const order = peer.messages.map(({ id, method, params }) => id ?? `${method} ${params.seq ?? params.executionId}`);
    expect(order).toEqual([1, 'event 1', 'e', 'g', 'event 1', 'event 2', `subscription.closed ${inBatch.id}`]);
  });

  test('behind its last event, the subscription is closed as finished', async () => {
    const { door, write, finish } = await doorFixture();
    const peer = new Peer(door);
    const { result } = await peer.call('execute', { prompt: 'x' });
    await write(result.id, 5);
    await finish(result);
    expect((await peer.message(isClosed)).params).toEqual({ executionId: result.id, reason: 'finished', lastSeq: 7 });
    expect(peer.seqs()).toEqual(range(1, 7));
    expect((await peer.call('unsubscribe', [result.id])).error?.data?.code).toBe('not_found');
  });

  test('as a notification it starts a run and subscribes nobody', async () => {
    const { door, write, started } = await doorFixture();
    const peer = new Peer(door);
    await peer.call('ping');
    peer.send({ jsonrpc: '2.0', method: 'execute', params: { prompt: 'x' } });
    await until(() => started.length === 1, 'started');
    const [id = ''] = started;
    await write(id, 1);
    expect((await peer.call('unsubscribe', [id])).error?.data?.code).toBe('not_found');
    expect(peer.messages.map((message) => message.id)).toEqual([1, 2]);
  });

  test('repeated with its idempotency key, it keeps the subscription there is', async () => {
    const { door, write, finish } = await doorFixture();
    const peer = new Peer(door);
    const request = { prompt: 'x', idempotencyKey: 'k' };
    const { result } = await peer.call('execute', request);
    await write(result.id, 3);
    expect((await peer.call('execute', request)).result.id).toBe(result.id);
    await finish(result);
    await peer.message(isClosed);
    expect(peer.seqs()).toEqual(range(1, 5));
  });

  test('what it refuses, it names, and nothing is subscribed', async () => {
    const { door } = await doorFixture();
    const peer = new Peer(door);
    expect((await peer.call('execute', { prompt: '' })).error).toMatchObject({
      code: -32602,
      data: { errors: [{ path: 'prompt' }] },
    });
  });
});

describe('subscribe', () => {
  test('refuses a cursor that cannot be, an execution that is not, and a second time', async () => {
    const { door } = await doorFixture();
    const peer = new Peer(door);
    const { id: executionId } = (await new Peer(door).call('execute', { prompt: 'x' })).result;
    expect((await peer.call('subscribe', { executionId, after: 2 })).error).toMatchObject({
      code: 1001,
      data: { code: 'cursor_in_future', retryable: false, lastSeq: 1 },
    });
    expect((await peer.call('subscribe', [newId()])).error?.data?.code).toBe('not_found');
    expect((await peer.call('subscribe', { executionId, after: 1 })).result).toEqual({ executionId, after: 1 });
    expect((await peer.call('subscribe', { executionId })).error?.data?.code).toBe('conflict');
    expect(peer.messages).toHaveLength(4);
  });

  test('refuses a cursor before what is kept', async () => {
    const { door } = await doorFixture({
      assertCursor: async () => {
        throw new ServiceError('truncated_before', 'The log starts at 9', { data: { firstSeq: 9 } });
      },
    });
    expect((await new Peer(door).call('subscribe', ['e'])).error?.data).toEqual({
      code: 'truncated_before',
      retryable: false,
      firstSeq: 9,
    });
  });

  test('of two at the same moment one is refused', async () => {
    const { door } = await doorFixture();
    const { id } = (await new Peer(door).call('execute', { prompt: 'x' })).result;
    const peer = new Peer(door);
    const both = await Promise.all([peer.call('subscribe', [id]), peer.call('subscribe', [id])]);
    expect(both.map(({ error }) => error?.data?.code ?? 'subscribed').sort()).toEqual(['conflict', 'subscribed']);
  });

  test('at the end of a finished log it is closed at once', async () => {
    const { door, finish } = await doorFixture();
    const { result } = await new Peer(door).call('execute', { prompt: 'x' });
    await finish(result);
    const peer = new Peer(door);
    await peer.call('subscribe', { executionId: result.id, after: 2 });
    expect((await peer.message(isClosed)).params).toMatchObject({ reason: 'finished', lastSeq: 2 });
    expect(peer.seqs()).toEqual([]);
  });

  test('unsubscribe says which event was the last, and it was', async () => {
    const { door, write } = await doorFixture();
    const peer = new Peer(door);
    const { id } = (await peer.call('execute', { prompt: 'x' })).result;
    await write(id, 3);
    await until(() => peer.seqs().length === 4, 'events');
    expect((await peer.call('unsubscribe', [id])).result).toEqual({ executionId: id, lastSeq: 4 });
    await write(id, 3);
    await peer.call('subscribe', { executionId: id, after: 4 });
    await until(() => peer.seqs().length === 7, 'events');
    expect(peer.seqs()).toEqual(range(1, 7));
    expect(peer.messages.some(isClosed)).toBe(false);
  });

  test('a connection has at most 1,000 subscriptions, and then starts nothing it could not follow', async () => {
    let started = 0;
    const { door } = await doorFixture({
      start: async () => {
        started += 1;
        return executionOf();
      },
      events: async function* () {
        yield [];
        await new Promise(() => {});
      },
    });
    const peer = new Peer(door);
    for (let batch = 0; batch < 10; batch += 1) {
      peer.send(Array.from({ length: 100 }, (_, index) => call('execute', `${batch} ${index}`, { prompt: 'x' })));
    }
    peer.send(call('ping', 'after'));
    await until(() => peer.messages.length === 1_001, 'answers');
    expect((await peer.call('execute', { prompt: 'x' })).error?.data).toMatchObject({
      code: 'too_many',
      retryable: true,
      retryAfterMs: 1_000,
    });
    expect(started).toBe(1_000);
  });
});

describe('a log of 300 events', () => {
  test('cut after every event, it is read whole, without gap or repetition', async () => {
    const { door, write, finish } = await doorFixture();
    const { result } = await new Peer(door).call('execute', { prompt: 'x' });
    const writing = (async () => {
      for (let written = 1; written < 299; written += 1) await write(result.id, 1);
      await finish(result);
    })();
    const seen: number[] = [];
    while (seen.length < 300) {
      const peer = new Peer(door);
      await peer.call('subscribe', { executionId: result.id, after: seen.length });
      await until(() => peer.seqs().length > 0, 'an event');
      peer.connection.ended();
      seen.push(...peer.seqs().slice(0, 1));
    }
    await writing;
    expect(seen).toEqual(range(1, 300));
  });
});

describe('a client that does not read', () => {
  const limits = { maxQueuedBytes: 200_000, stallAfterMs: 50, closeWithinMs: 50 };

  test('is told where to go on and closed, while another one reads the same log to its end', async () => {
    const { door, write, finish } = await doorFixture();
    const { result } = await new Peer(door).call('execute', { prompt: 'x' });
    const stuck = new Peer(door, { key: KEY, limits });
    const reader = new Peer(door);
    await stuck.call('subscribe', [result.id]);
    await reader.call('subscribe', [result.id]);
    stuck.socket.stopReading();
    for (let round = 0; round < 10; round += 1) await write(result.id, 50, 'x'.repeat(2_000));
    await finish(result);
    expect((await reader.message(isClosed)).params).toMatchObject({ reason: 'finished', lastSeq: 502 });
    expect(reader.seqs()).toEqual(range(1, 502));
    expect(await stuck.closeCode()).toBe(4429);
    const { reason, lastSeq } = stuck.messages.at(-1)?.params ?? {};
    expect(reason).toBe('too_slow');
    expect(stuck.seqs()).toEqual(range(1, lastSeq));
    expect(lastSeq).toBeLessThan(502);
    const queued = stuck.socket.texts.reduce((sum, text) => sum + text.length, 0);
    expect(queued).toBeLessThan(limits.maxQueuedBytes + 100_000);
    await until(() => stuck.socket.terminated, 'terminated');
    expect(reader.socket.closed).toBeUndefined();
  });

  test('an event of any size passes, also where it is longer than the queue', async () => {
    const { door, write, finish } = await doorFixture();
    const peer = new Peer(door, { key: KEY, limits });
    const { result } = await peer.call('execute', { prompt: 'x' });
    await write(result.id, 2, 'x'.repeat(1_000_000));
    await finish(result);
    expect((await peer.message(isClosed)).params).toMatchObject({ reason: 'finished', lastSeq: 4 });
  });
});

describe('a subscription whose log fails', () => {
  test.each([
    ['storage_unavailable', new ServiceError('storage_unavailable', 'The disk is gone')],
    ['deleted', new ServiceError('not_found', 'There is no such execution')],
    ['deleted', new ServiceError('truncated_before', 'The log starts later')],
    ['internal', new Error('a defect')],
  ])('is closed as %s', async (reason, error) => {
    const { door } = await doorFixture({
      events: async function* () {
        yield [{ seq: 1, type: 'execution.queued', bytes: '{"seq":1}' }];
        throw error;
      },
    });
    const peer = new Peer(door);
    await peer.call('execute', { prompt: 'x' });
    expect((await peer.message(isClosed)).params).toMatchObject({ reason, lastSeq: 1 });
    expect((await peer.call('ping')).error).toBeUndefined();
  });
});
