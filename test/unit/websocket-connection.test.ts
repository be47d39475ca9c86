import { describe, expect, test } from 'vitest';
import { ServiceError } from '../../src/protocol/errors.ts';
import type { Execution } from '../../src/protocol/execution.ts';
import { executionOf } from '../support/execution-records.ts';
import { doorFixture, KEY, type Message, Peer, until } from '../support/linked-socket.ts';

const call = (method: string, id: number | string, params?: unknown): object => ({
  jsonrpc: '2.0',
  method,
  params,
  id,
});

describe('the key', () => {
  test('one in the request opens the connection', async () => {
    const { door } = await doorFixture();
    const peer = new Peer(door);
    expect((await peer.call('ping')).result).toEqual({ time: expect.stringMatching(/^20.*Z$/) });
  });

  test('a wrong one in the request closes it, and nothing that was sent along is answered', async () => {
    const { door } = await doorFixture();
    const peer = new Peer(door, { key: 'wrong' });
    peer.send(call('ping', 1));
    expect(await peer.closeCode()).toBe(4401);
    expect(peer.messages).toEqual([]);
  });

  test('without one, authenticate opens it, alone or at the head of a batch', async () => {
    const { door } = await doorFixture();
    const peer = new Peer(door, {});
    expect((await peer.call('authenticate', [KEY])).result).toEqual({ authenticated: true });
    expect((await peer.call('ping')).error).toBeUndefined();
    const other = new Peer(door, {});
    other.send([call('authenticate', 'a', { key: KEY }), call('ping', 'p')]);
    expect((await other.message(({ id }) => id === 'p')).error).toBeUndefined();
  });

  test('calls that follow authenticate at once wait for it', async () => {
    const { door } = await doorFixture();
    const peer = new Peer(door, {});
    peer.send(call('authenticate', 1, { key: KEY }));
    peer.send(call('ping', 2));
    expect((await peer.message(({ id }) => id === 2)).error).toBeUndefined();
  });

  test('a wrong authenticate is answered, then the connection is closed', async () => {
    const { door } = await doorFixture();
    const peer = new Peer(door, {});
    peer.send(call('authenticate', 1, { key: 'wrong' }));
    expect(await peer.closeCode()).toBe(4401);
    expect(peer.messages.map(({ id, error }) => [id, error?.data?.code])).toEqual([[1, 'unauthenticated']]);
  });

  test.each([
    ['another call', JSON.stringify(call('ping', 1))],
    ['another call before authenticate', JSON.stringify([call('ping', 1), call('authenticate', 2, { key: KEY })])],
    ['a notification', '{"jsonrpc":"2.0","method":"ping"}'],
    ['an unknown method', '{"jsonrpc":"2.0","method":"hello","id":1}'],
    ['no JSON', 'hello'],
    ['too long a frame', JSON.stringify([call('authenticate', 1, { key: KEY }), 'x'.repeat(70_000)])],
  ])('%s in its place closes the connection', async (_, text) => {
    const { door } = await doorFixture();
    const peer = new Peer(door, {});
    peer.send(text);
    expect(await peer.closeCode()).toBe(4401);
  });

  test('none in time closes the connection', async () => {
    const { door } = await doorFixture();
    expect(await new Peer(door, { limits: { authenticateWithinMs: 10 } }).closeCode()).toBe(4408);
  });

  test('authenticate on an open connection is answered where the key is right, and closes it where it is not', async () => {
    const { door } = await doorFixture();
    const peer = new Peer(door);
    expect((await peer.call('authenticate', { key: KEY })).result).toEqual({ authenticated: true });
    expect((await peer.call('ping')).error).toBeUndefined();
    peer.send(call('authenticate', 9, { key: 'wrong' }));
    expect(await peer.closeCode()).toBe(4401);
  });

  test('one that cannot be checked is not called wrong', async () => {
    const { door } = await doorFixture();
    const verify = async (): Promise<never> => {
      throw new ServiceError('storage_unavailable', 'The disk is gone');
    };
    const failing = { ...door, callers: { verify } };
    expect(await new Peer(failing).closeCode()).toBe(1011);
    const peer = new Peer(failing, {});
    peer.send(call('authenticate', 1, { key: KEY }));
    expect(await peer.closeCode()).toBe(1011);
    expect(peer.messages[0]?.error?.data?.code).toBe('storage_unavailable');
  });

  test('a page of a forbidden origin is sent away, right key or not', async () => {
    const { door } = await doorFixture();
    expect(await new Peer(door, { key: KEY, originAllowed: false }).closeCode()).toBe(4403);
  });
});

describe('calls', () => {
  test('parameters by position stand in the order of the fields, and one too many is refused', async () => {
    const { door } = await doorFixture();
    const peer = new Peer(door);
    const { id } = (await peer.call('execute', ['Say hello.'])).result;
    expect((await peer.call('executions.get', [id])).result.id).toBe(id);
    expect((await peer.call('executions.get', [id, 1])).error).toMatchObject({
      code: -32602,
      data: { errors: [{ path: '1', message: 'is one too many; the method takes 1' }] },
    });
  });

  test('control, input and executions.list reach the executions', async () => {
    const { door, cancelled } = await doorFixture();
    const peer = new Peer(door);
    const { id: executionId } = (await peer.call('execute', { prompt: 'x' })).result;
    for (const action of ['pause', 'resume', 'cancel']) {
      expect((await peer.call('control', { executionId, action })).result.id).toBe(executionId);
    }
    expect(cancelled).toEqual([executionId]);
    expect((await peer.call('input', { executionId, text: 'more' })).result.id).toBe(executionId);
    expect((await peer.call('executions.list', { state: 'queued' })).result.executions).toHaveLength(1);
    expect((await peer.call('executions.list', { state: 'finished' })).result.executions).toEqual([]);
  });

  test('a binary frame closes the connection', async () => {
    const { door } = await doorFixture();
    const peer = new Peer(door);
    peer.connection.receiveBinary();
    expect(await peer.closeCode()).toBe(1003);
  });

  test('at most 32 run at once; meanwhile nothing more is read, and each is answered when it is done', async () => {
    const waiting: (() => void)[] = [];
    const get = (id: string): Promise<Execution> =>
      new Promise((resolve) => waiting.push(() => resolve(executionOf({ metadata: { asked: id } }))));
    const { door } = await doorFixture({ get });
    const peer = new Peer(door);
    for (let id = 0; id < 40; id += 1) peer.send(call('executions.get', id, [`e${id}`]));
    await until(() => waiting.length === 32, '32 calls');
    expect(peer.socket.paused).toBe(true);
    waiting.pop()?.();
    await until(() => waiting.length === 32, 'the next call');
    expect(peer.messages.map(({ id }) => id)).toEqual([31]);
    for (let answered = 1; answered < 40; answered += 1) {
      await until(() => waiting.length > 0, 'a call');
      waiting.shift()?.();
    }
    await until(() => peer.messages.length === 40, 'all answers');
    expect(peer.socket.paused).toBe(false);
    expect(new Set(peer.messages.map(({ id }) => id)).size).toBe(40);
  });

  test('while answers fill the queue, nothing more is read', async () => {
    const { door } = await doorFixture({ get: async () => executionOf({ partialText: 'x'.repeat(70_000) }) });
    const peer = new Peer(door, { key: KEY, limits: { maxQueuedBytes: 100_000 } });
    peer.socket.stopReading();
    for (let id = 0; id < 10; id += 1) {
      peer.send(call('executions.get', id, ['e']));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => peer.socket.paused, 'paused');
    peer.socket.read();
    await until(() => peer.messages.length === 10, 'all answers');
    expect(peer.socket.paused).toBe(false);
  });
});

describe('a connection that ends', () => {
  const bound = { prompt: 'x', cancelOnDisconnect: true };

  test('ends the executions it created with cancelOnDisconnect, and no others', async () => {
    const { door, cancelled } = await doorFixture();
    const first = new Peer(door);
    const { id: elsewhere } = (await first.call('execute', { ...bound, idempotencyKey: 'k' })).result;
    const peer = new Peer(door);
    const { id } = (await peer.call('execute', bound)).result;
    await peer.call('execute', { prompt: 'y' });
    expect((await peer.call('execute', { ...bound, idempotencyKey: 'k' })).result.id).toBe(elsewhere);
    peer.connection.ended();
    await until(() => cancelled.length > 0, 'cancelled');
    expect(cancelled).toEqual([id]);
  });

  test('ends one also that was not accepted yet when it ended', async () => {
    let accept = (): void => {};
    const start = (): Promise<Execution> =>
      new Promise((resolve) => {
        accept = () => resolve(executionOf({ id: 'ffffffff-ffff-7fff-8fff-ffffffffffff' }));
      });
    const cancelled: string[] = [];
    const cancel = async (id: string): Promise<Execution> => {
      cancelled.push(id);
      return executionOf({ id });
    };
    const { door } = await doorFixture({ start, cancel });
    const peer = new Peer(door);
    await peer.call('ping');
    peer.send({ jsonrpc: '2.0', method: 'execute', params: bound });
    await new Promise((resolve) => setImmediate(resolve));
    peer.connection.ended();
    accept();
    await until(() => cancelled.length === 1, 'cancelled');
  });

  test('leaves them running where the service goes away', async () => {
    for (const phase of ['draining', 'closing'] as const) {
      const fixture = await doorFixture();
      const peer = new Peer(fixture.door);
      await peer.call('execute', bound);
      fixture[phase].abort();
      peer.connection.ended();
      await new Promise((resolve) => setImmediate(resolve));
      expect(fixture.cancelled).toEqual([]);
    }
  });
});

describe('a service that goes away', () => {
  const draining = { jsonrpc: '2.0', method: 'server.draining', params: { drainMs: 1_234 } };

  test('tells open connections that it drains, and later ones behind their authentication', async () => {
    const fixture = await doorFixture();
    const early = new Peer(fixture.door);
    const silent = new Peer(fixture.door, {});
    await early.call('ping');
    fixture.draining.abort();
    expect(await early.message(({ method }) => method === 'server.draining')).toEqual(draining);
    const byHeader = new Peer(fixture.door);
    expect(await byHeader.message(() => true)).toEqual(draining);
    const late = new Peer(fixture.door, {});
    await late.call('authenticate', [KEY]);
    await late.message(({ method }) => method === 'server.draining');
    expect(late.messages.map(({ method }) => method)).toEqual([undefined, 'server.draining']);
    expect(silent.messages).toEqual([]);
  });

  test('tells every subscription where to go on, then closes', async () => {
    const fixture = await doorFixture();
    const peer = new Peer(fixture.door);
    const execution = (await peer.call('execute', ['x'])).result;
    await fixture.write(execution.id, 2);
    await until(() => peer.seqs().length === 3, 'events');
    fixture.closing.abort();
    expect(await peer.closeCode()).toBe(1001);
    const last: Message | undefined = peer.messages.at(-1);
    expect(last).toMatchObject({
      method: 'subscription.closed',
      params: { executionId: execution.id, reason: 'going_away', lastSeq: 3 },
    });
    expect(await new Peer(fixture.door).closeCode()).toBe(1001);
  });
});
