import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Leave, type Rank, StartGate } from '../../src/executions/start-gate.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Enters under a name, and notes it when it is in. */
function entrances(gate: StartGate): {
  inside: string[];
  leave(name: string): Promise<void>;
  enter(name: string, rank: Rank, signal?: AbortSignal): Promise<void>;
} {
  const inside: string[] = [];
  const leaves = new Map<string, Leave>();
  return {
    inside,
    enter: async (name, rank, signal = new AbortController().signal) => {
      void gate.enter(rank, signal).then((leave) => {
        inside.push(leave === undefined ? `${name} gave up` : name);
        if (leave !== undefined) leaves.set(name, leave);
      });
      await settled();
    },
    leave: async (name) => {
      leaves.get(name)?.();
      await settled();
    },
  };
}

const settled = async (): Promise<void> => void (await vi.advanceTimersByTimeAsync(0));

it('lets in as many as there are places, the others as places come free, in their order', async () => {
  const { inside, enter, leave } = entrances(new StartGate(2));
  for (const name of ['a', 'b', 'c', 'd']) await enter(name, 'run');
  expect(inside).toEqual(['a', 'b']);
  await leave('b');
  expect(inside).toEqual(['a', 'b', 'c']);
  await leave('a');
  expect(inside).toEqual(['a', 'b', 'c', 'd']);
});

it('lets runs in before spares that came earlier', async () => {
  const { inside, enter, leave } = entrances(new StartGate(1));
  await enter('first', 'run');
  await enter('spare', 'spare');
  await enter('run', 'run');
  await leave('first');
  expect(inside).toEqual(['first', 'run']);
  await leave('run');
  expect(inside).toEqual(['first', 'run', 'spare']);
});

it('who gives up while waiting is told at once, and does not take a place', async () => {
  const { inside, enter, leave } = entrances(new StartGate(1));
  const stop = new AbortController();
  await enter('first', 'run');
  await enter('second', 'run', stop.signal);
  await enter('third', 'run');
  stop.abort();
  await settled();
  expect(inside).toEqual(['first', 'second gave up']);
  await leave('first');
  expect(inside).toEqual(['first', 'second gave up', 'third']);
  await enter('late', 'run', stop.signal);
  expect(inside.at(-1)).toBe('late gave up');
});

it('leaving twice gives back one place', async () => {
  const { inside, enter, leave } = entrances(new StartGate(1));
  for (const name of ['a', 'b', 'c']) await enter(name, 'run');
  await leave('a');
  await leave('a');
  expect(inside).toEqual(['a', 'b']);
});

it('a start that shows nothing holds its place for 5 seconds', async () => {
  const { inside, enter, leave } = entrances(new StartGate(1));
  for (const name of ['silent', 'next', 'last']) await enter(name, 'run');
  await vi.advanceTimersByTimeAsync(4_999);
  expect(inside).toEqual(['silent']);
  await vi.advanceTimersByTimeAsync(1);
  expect(inside).toEqual(['silent', 'next']);
  await leave('silent');
  expect(inside).toEqual(['silent', 'next']);
});
