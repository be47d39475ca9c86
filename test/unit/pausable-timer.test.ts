// promise: P8

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { PausableTimer } from '../../src/executions/pausable-timer.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function counting(durationMs: number): { timer: PausableTimer; elapsed: () => number } {
  let count = 0;
  const timer = new PausableTimer(durationMs, () => {
    count += 1;
  });
  return { timer, elapsed: () => count };
}

it('elapses once, after its duration', () => {
  const { timer, elapsed } = counting(100);
  timer.start();
  vi.advanceTimersByTime(99);
  expect(elapsed()).toBe(0);
  vi.advanceTimersByTime(500);
  expect(elapsed()).toBe(1);
});

it('does not count while paused', () => {
  const { timer, elapsed } = counting(100);
  timer.start();
  vi.advanceTimersByTime(60);
  timer.pause();
  vi.advanceTimersByTime(10_000);
  timer.resume();
  vi.advanceTimersByTime(39);
  expect(elapsed()).toBe(0);
  vi.advanceTimersByTime(2);
  expect(elapsed()).toBe(1);
});

it('touch gives the whole duration again, also after it elapsed', () => {
  const { timer, elapsed } = counting(100);
  timer.start();
  vi.advanceTimersByTime(90);
  timer.touch();
  vi.advanceTimersByTime(90);
  expect(elapsed()).toBe(0);
  vi.advanceTimersByTime(20);
  expect(elapsed()).toBe(1);
  timer.touch();
  vi.advanceTimersByTime(101);
  expect(elapsed()).toBe(2);
});

it('a duration longer than setTimeout takes does not elapse early', () => {
  const { timer, elapsed } = counting(30 * 24 * 3600 * 1000);
  timer.start();
  vi.advanceTimersByTime(25 * 24 * 3600 * 1000);
  expect(elapsed()).toBe(0);
  vi.advanceTimersByTime(5 * 24 * 3600 * 1000 + 1);
  expect(elapsed()).toBe(1);
});
