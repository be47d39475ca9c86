import { expect, test } from 'vitest';
import { LiveBatches } from '../../src/event-log/live-batches.ts';
import { eventOf } from '../support/execution-records.ts';

const MEBIBYTE = 1024 * 1024;

/** Pushes until the queue gives up; returns how many batches it held before that. */
function heldBeforeOverflow(batchBytes: number): number {
  const queue = new LiveBatches();
  for (let count = 0; count < 1_000; count += 1) {
    queue.push([eventOf(count + 1, 'x'.repeat(batchBytes))]);
    if (queue.takeOverflow()) {
      expect(queue.take()).toBeUndefined();
      return count;
    }
  }
  throw new Error('1,000 batches were held');
}

test('small batches are bounded by their number, larger ones by their bytes, and then none is held', () => {
  expect(heldBeforeOverflow(10)).toBe(64);
  expect(heldBeforeOverflow(MEBIBYTE / 4)).toBe(3);
});

test('one batch of any size is held, and the next one is not', () => {
  expect(heldBeforeOverflow(20 * MEBIBYTE)).toBe(1);
});

test('what was taken makes room again', () => {
  const queue = new LiveBatches();
  for (let count = 1; count <= 500; count += 1) {
    const batch = [eventOf(count, 'x'.repeat(MEBIBYTE / 2))];
    queue.push(batch);
    expect(queue.take()).toBe(batch);
  }
  expect(queue.takeOverflow()).toBe(false);
});

test('waiting ends with a batch, with an overflow, with a wake-up, and with the time', async () => {
  const queue = new LiveBatches();
  const woken = queue.wait(undefined);
  queue.wake();
  await woken;
  const fed = queue.wait(undefined);
  queue.push([eventOf(1)]);
  await fed;
  await queue.wait(undefined);
  queue.take();
  await queue.wait(1);
});
