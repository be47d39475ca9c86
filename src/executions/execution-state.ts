import { ServiceError } from '../protocol/errors.ts';
import type { ExecutionState } from '../protocol/execution.ts';

/** Which state may follow which. `finished` is final. `waiting_approval` comes with approvals. */
export const TRANSITIONS: Readonly<Record<ExecutionState, readonly ExecutionState[]>> = {
  queued: ['running', 'finished'],
  running: ['paused', 'waiting_approval', 'finished'],
  paused: ['running', 'finished'],
  waiting_approval: ['running', 'paused', 'finished'],
  finished: [],
};

/** @throws ServiceError `conflict`, with the state, when `to` may not follow `from` */
export function assertTransition(from: ExecutionState, to: ExecutionState): void {
  if (!TRANSITIONS[from].includes(to)) {
    throw new ServiceError('conflict', `An execution that is ${from} cannot become ${to}`, { data: { state: from } });
  }
}
