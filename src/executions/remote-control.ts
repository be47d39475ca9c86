import { ServiceError } from '../protocol/errors.ts';
import type { Execution } from '../protocol/execution.ts';
import type { ExecutionRecord } from '../storage/storage.ts';

/** What is asked of an execution where it runs. `snapshot` changes nothing. */
export type ControlAction = 'cancel' | 'pause' | 'resume' | 'input' | 'snapshot';

export interface ControlRequest {
  tenant: string;
  executionId: string;
  action: ControlAction;
  /** Of `input`. */
  text?: string;
}

/** The way to executions that run in another process. */
export interface RemoteControl {
  /**
   * Asks the service instance that runs an execution.
   * @throws ServiceError what that instance throws; `not_running` when it does not answer in time
   */
  ask(instanceId: string, request: ControlRequest): Promise<Execution>;
}

/**
 * Asks it of an execution that does not run here, where it runs. The end of one that has ended needs no asking.
 * @throws ServiceError `conflict` with the state, where it does not apply; those of `RemoteControl.ask`
 */
export async function askOwner(
  control: RemoteControl | undefined,
  { execution, instanceId, tenant }: ExecutionRecord,
  request: Omit<ControlRequest, 'tenant'>,
): Promise<Execution> {
  const { id, state } = execution;
  if (state === 'finished' && request.action === 'cancel') return execution;
  if (state !== 'finished' && state !== 'queued' && control !== undefined) {
    return control.ask(instanceId, { ...request, tenant });
  }
  const why =
    state === 'finished'
      ? `Execution ${id} has finished`
      : control === undefined
        ? `Execution ${id} belongs to another process on this data folder; control it there`
        : `An execution that is queued takes no ${request.action}`;
  throw new ServiceError('conflict', why, { data: { state } });
}

/** An execution as the process sees it that runs it; undefined when that does not answer. */
export async function snapshotAtOwner(
  control: RemoteControl | undefined,
  { execution, instanceId, tenant }: ExecutionRecord,
): Promise<Execution | undefined> {
  try {
    return await control?.ask(instanceId, { tenant, executionId: execution.id, action: 'snapshot' });
  } catch (error) {
    if (error instanceof ServiceError) return undefined;
    throw error;
  }
}

const MAX_OWNERS = 3;

/** Asks again where an execution was taken over by somebody else while it was being asked for: it is looked up anew. */
export async function whoeverHasIt<T>(ask: () => Promise<T>): Promise<T> {
  for (let owner = 1; ; owner += 1) {
    try {
      return await ask();
    } catch (error) {
      if (owner === MAX_OWNERS || !(error instanceof ServiceError && error.code === 'stale_writer')) throw error;
    }
  }
}
