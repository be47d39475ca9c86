import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { StoredEvent } from '../../src/protocol/events.ts';
import { eventFrame } from '../../src/transport/websocket/notifications.ts';
import { OUTBOUND_LIMITS, Outbound, type OutboundLimits } from '../../src/transport/websocket/outbound.ts';
import { LinkedSocket, until } from '../support/linked-socket.ts';

const KIB = 1024;
const frame = (bytes: number, letter = 'x'): Buffer => Buffer.alloc(bytes, letter);

function queue(limits: Partial<OutboundLimits> = {}): {
  outbound: Outbound;
  socket: LinkedSocket;
  seen: { stalled: number; taken: number };
} {
  const socket = new LinkedSocket();
  const seen = { stalled: 0, taken: 0 };
  const onStalled = (): void => {
    seen.stalled += 1;
  };
  const onTaken = (): void => {
    seen.taken += 1;
  };
  const outbound = new Outbound(socket, { onStalled, onTaken }, { ...OUTBOUND_LIMITS, ...limits });
  onTestFinished(() => outbound.dispose());
  return { outbound, socket, seen };
}

describe('what is in flight', () => {
  test('small frames go out together up to 64 KiB, and the next ones when those are taken', async () => {
    const { outbound, socket } = queue();
    socket.stopReading();
    for (let count = 0; count < 10; count += 1) outbound.push(frame(10 * KIB));
    expect(socket.texts).toHaveLength(6);
    socket.read();
    await until(() => socket.texts.length === 10, 'all sent');
  });

  test('a long frame goes out in fragments of one message, in order with the frames around it', async () => {
    const { outbound, socket } = queue();
    const long = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index.toString(36)).join(' '));
    outbound.push(Buffer.from('before'));
    outbound.push(long);
    outbound.push(Buffer.from('after'));
    await until(() => socket.texts.length === 3, 'all sent');
    expect(socket.texts).toEqual(['before', long.toString(), 'after']);
  });
});

describe('room', () => {
  test('a frame of any size has room when nothing waits, and then nothing has', () => {
    const { outbound, socket } = queue({ maxQueuedBytes: 100 });
    socket.stopReading();
    outbound.push(frame(20 * KIB * KIB));
    expect(outbound.hasRoom(20 * KIB * KIB)).toBe(true);
    outbound.push(frame(20 * KIB * KIB));
    expect(outbound.hasRoom(1)).toBe(false);
    expect(outbound.full).toBe(true);
  });

  test('what is queued may reach the cap and not a byte more', () => {
    const { outbound, socket } = queue({ maxQueuedBytes: 100 });
    socket.stopReading();
    outbound.push(frame(64 * KIB));
    outbound.push(frame(60));
    expect(outbound.hasRoom(40)).toBe(true);
    expect(outbound.hasRoom(41)).toBe(false);
  });

  test('those who wait queue their frames in the order of asking, and never beyond the cap', async () => {
    const { outbound, socket } = queue({ maxQueuedBytes: 100 * KIB });
    socket.stopReading();
    outbound.push(frame(64 * KIB));
    outbound.push(frame(100 * KIB));
    const waiting = ['a', 'b', 'c', 'd', 'e'].map(async (letter) => {
      await outbound.room(60 * KIB);
      outbound.push(frame(60 * KIB, letter));
      return outbound.full;
    });
    socket.read();
    expect(await Promise.all(waiting)).toEqual([false, false, false, false, false]);
    await until(() => socket.texts.length === 7, 'all sent');
    expect(socket.texts.slice(2).map((text) => text[0])).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('two frames taken in the same moment do not give the same room twice', async () => {
    const { outbound, socket } = queue({ maxQueuedBytes: 100 * KIB });
    const untaken: (() => void)[] = [];
    socket.send = (_, done): void => void untaken.push(done);
    for (const size of [1, 63, 60]) outbound.push(frame(size * KIB));
    const queued: string[] = [];
    for (const who of ['first', 'second']) {
      void outbound.room(60 * KIB).then(() => {
        outbound.push(frame(60 * KIB));
        queued.push(who);
      });
    }
    for (const done of untaken.splice(0).reverse()) done();
    await new Promise((resolve) => setImmediate(resolve));
    expect(queued).toEqual(['first']);
  });

  test('the end of the queue lets those go who wait', async () => {
    const { outbound, socket } = queue({ maxQueuedBytes: 1 });
    socket.stopReading();
    outbound.push(frame(64 * KIB));
    outbound.push(frame(64 * KIB));
    const waiting = outbound.room(1);
    outbound.end({ code: 1000, text: '' });
    await waiting;
    await outbound.room(1);
  });
});

describe('a reader that does not read', () => {
  test('it has stalled when the queue is full and nothing is taken', async () => {
    const { outbound, socket, seen } = queue({ maxQueuedBytes: 100, stallAfterMs: 20 });
    socket.stopReading();
    outbound.push(frame(64 * KIB));
    outbound.push(frame(100));
    await until(() => seen.stalled === 1, 'stalled');
  });

  test('someone who waits for room makes the queue full, however little is in it', async () => {
    const { outbound, socket, seen } = queue({ maxQueuedBytes: 100, stallAfterMs: 20 });
    socket.stopReading();
    outbound.push(frame(64 * KIB));
    outbound.push(frame(1));
    void outbound.room(1_000);
    await until(() => seen.stalled === 1, 'stalled');
  });

  test('it has not stalled while fragments of a long frame are taken', () => {
    vi.useFakeTimers();
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const { outbound, socket, seen } = queue({ maxQueuedBytes: 100, stallAfterMs: 5_000 });
    const untaken: (() => void)[] = [];
    socket.send = (_, done): void => void untaken.push(done);
    outbound.push(frame(256 * KIB * 10));
    outbound.push(frame(100));
    for (let count = 0; count < 9; count += 1) {
      vi.advanceTimersByTime(4_000);
      untaken.shift()?.();
    }
    expect(outbound.full).toBe(true);
    expect(seen).toEqual({ stalled: 0, taken: 9 });
    vi.advanceTimersByTime(5_001);
    expect(seen.stalled).toBe(1);
  });
});

describe('the end', () => {
  test('everything queued is handed over before the close, and nothing after it', () => {
    const { outbound, socket } = queue();
    socket.stopReading();
    for (const letter of ['a', 'b', 'c']) outbound.push(frame(300 * KIB, letter));
    outbound.end({ code: 4429, text: 'too slow' });
    outbound.push(frame(1, 'd'));
    expect(socket.texts.map((text) => [text.length, text[0]])).toEqual([
      [300 * KIB, 'a'],
      [300 * KIB, 'b'],
      [300 * KIB, 'c'],
    ]);
    expect(socket.closed).toEqual({ code: 4429, reason: 'too slow' });
  });

  test('a close handshake that takes too long is cut short', async () => {
    const { outbound, socket } = queue({ closeWithinMs: 10 });
    outbound.end({ code: 1001, text: '' });
    await until(() => socket.terminated, 'terminated');
  });
});

test('an event is framed once, its bytes verbatim, for all who read it', () => {
  const event: StoredEvent = { seq: 7, type: 'claude.stderr', bytes: '{ "seq":7.0,"text":"\\u00e9" }' };
  expect(eventFrame(event).toString()).toBe(`{"jsonrpc":"2.0","method":"event","params":${event.bytes}}`);
  expect(eventFrame(event)).toBe(eventFrame(event));
});
