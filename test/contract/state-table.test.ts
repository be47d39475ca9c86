import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assertTransition, TRANSITIONS } from '../../src/executions/execution-state.ts';
import { EXECUTION_STATES, type ExecutionState } from '../../src/protocol/execution.ts';

const anyState = fc.constantFrom(...EXECUTION_STATES);

/** Asks for each state in turn, from `queued`; a refused one leaves the state as it is. */
function walk(wanted: readonly ExecutionState[]): ExecutionState[] {
  let state: ExecutionState = 'queued';
  return wanted.map((next) => {
    try {
      assertTransition(state, next);
      state = next;
    } catch (error) {
      expect(error).toMatchObject({ code: 'conflict', data: { state } });
    }
    return state;
  });
}

test('whatever is asked, nothing leaves finished', () => {
  fc.assert(
    fc.property(fc.array(anyState, { maxLength: 30 }), (wanted) => {
      const states = walk(wanted);
      const end = states.indexOf('finished');
      if (end !== -1) expect(new Set(states.slice(end))).toEqual(new Set(['finished']));
    }),
  );
});

test('every state that is reached can be finished in one step', () => {
  fc.assert(
    fc.property(fc.array(anyState, { maxLength: 30 }), (wanted) => {
      expect(walk([...wanted, 'finished']).at(-1)).toBe('finished');
    }),
  );
});

test('every state can be reached from queued, and none follows itself', () => {
  const reached = new Set<ExecutionState>(['queued']);
  for (const state of reached) for (const next of TRANSITIONS[state]) reached.add(next);
  expect([...reached].sort()).toEqual([...EXECUTION_STATES].sort());
  for (const state of EXECUTION_STATES) expect(TRANSITIONS[state]).not.toContain(state);
});
