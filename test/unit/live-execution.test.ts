import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ClaudeProcess } from '../../src/claude/process.ts';
import { EventWriter } from '../../src/event-log/event-writer.ts';
import { LiveExecution } from '../../src/executions/live-execution.ts';
import type { StoredEvent } from '../../src/protocol/events.ts';
import { recordOf } from '../support/execution-records.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A process that can be paused and resumed, and says which of the two came last. */
class Pausable implements Pick<ClaudeProcess, 'cliPid' | 'pause' | 'resume'> {
  readonly cliPid = Promise.resolve(1);
  state = 'running';
  async pause(): Promise<boolean> {
    this.state = 'paused';
    return true;
  }
  async resume(): Promise<boolean> {
    this.state = 'running';
    return true;
  }
}

function liveExecution(timeLimitMs: number): { live: LiveExecution; process: Pausable; stored: StoredEvent[] } {
  const stored: StoredEvent[] = [];
  const record = recordOf();
  record.execution.timeLimit = { ms: timeLimitMs, source: 'request' };
  const port = {
    storage: { append: async () => {} },
    stored: (events: readonly StoredEvent[]) => void stored.push(...events),
    ended: () => {},
  };
  const writer = new EventWriter(port, { executionId: record.execution.id, fence: 1, lastSeq: 1 });
  const live = new LiveExecution(record, { writer, stallAfterMs: 60_000 });
  const process = new Pausable();
  live.update({ state: 'running' });
  // Only what a pause touches is there; anything else would fail loudly.
  live.attach(process as unknown as ClaudeProcess, () => false);
  return { live, process, stored };
}

it('a pause ends by itself after 240 s, with an event that says so', async () => {
  const { live, process, stored } = liveExecution(1_000_000);
  await live.pause();
  expect({ state: live.execution.state, process: process.state }).toEqual({ state: 'paused', process: 'paused' });
  await vi.advanceTimersByTimeAsync(239_000);
  expect(live.execution.state).toBe('paused');
  await vi.advanceTimersByTimeAsync(2_000);
  expect({ state: live.execution.state, process: process.state }).toEqual({ state: 'running', process: 'running' });
  await live.writer.flush();
  expect(stored.map(({ type }) => type)).toEqual(['execution.paused', 'execution.resumed']);
  expect(stored.at(-1)?.bytes).toContain('"by":"time"');
});

it('the time limit and the stall clock stand still in a pause', async () => {
  const { live, stored } = liveExecution(100_000);
  await vi.advanceTimersByTimeAsync(50_000);
  await live.pause();
  await vi.advanceTimersByTimeAsync(200_000);
  await live.resume('caller');
  expect(live.stop).toBeUndefined();
  await vi.advanceTimersByTimeAsync(49_000);
  expect(live.stop).toBeUndefined();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(live.stop).toMatchObject({ kind: 'timed_out' });
  await live.writer.flush();
  expect(stored.filter(({ type }) => type === 'execution.stalled')).toHaveLength(1);
});

it('the first reason to stop counts', () => {
  const { live } = liveExecution(100_000);
  live.requestStop({ kind: 'cancelled', reason: 'cancelled_by_caller', text: 'first' });
  live.requestStop({ kind: 'timed_out', reason: 'time_limit', text: 'second' });
  expect(live.stop?.text).toBe('first');
});
