import type { Execution } from '../protocol/execution.ts';
import type { ExecutionRecord } from '../storage/storage.ts';
import type { Spare } from './warm-spare.ts';

/** Where stored executions wait for their turn, and are started. */
export interface Dispatcher {
  /**
   * `own`: what waits here is run by this process alone, which holds it as a live execution from the first. `shared`:
   * it waits where any worker may take it, and is nobody's until one has.
   */
  readonly kind: 'own' | 'shared';
  /** @throws ServiceError `queue_full`, `storage_unavailable` */
  assertRoom(): Promise<void>;
  /** Takes an execution that is stored and has not started. One that waits already is not taken twice. */
  dispatch(record: ExecutionRecord, spare?: Spare): Promise<void>;
  /** Whether nothing but another run of its session or workspace would hold up an execution that came now. */
  startsAtOnce(): boolean;
  /** 1 for the next to start; null when it is not waiting. */
  queuePosition(executionId: string): Promise<number | null>;
  /** Takes a waiting execution out, before it returns to its caller for the first time; false when it is not waiting. */
  withdraw(executionId: string): Promise<boolean>;
  /** Is told of an execution that ended without its dispatcher (as `lost`): what waited for it is looked at now. */
  ended(record: ExecutionRecord): Promise<void>;
  /** Starts nothing more here; what waits stays where it is. */
  stop(): void;
  /** How many run in this process, and how many wait, as far as is known now. */
  load(): { running: number; waiting: number };
}

/**
 * What no two live executions may share, as claims of the store: the directory they work in, and the session.
 */
export function claimKeys({ directory, execution: { sessionId } }: ExecutionRecord): string[] {
  return [`workspace:${directory}`, ...(sessionId === null ? [] : [`session:${sessionId}`])];
}

/** An execution with its place in the queue as it is now. */
export async function withPosition(
  dispatcher: Pick<Dispatcher, 'queuePosition'>,
  execution: Execution,
): Promise<Execution> {
  const queuePosition = execution.state === 'queued' ? await dispatcher.queuePosition(execution.id) : null;
  return { ...execution, queuePosition };
}
