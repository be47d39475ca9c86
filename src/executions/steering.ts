import type { Stop } from '../claude/outcome.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { Execution } from '../protocol/execution.ts';
import type { ExecutionRecord } from '../storage/storage.ts';
import { type Dispatcher, withPosition } from './dispatcher.ts';
import { storedExecution } from './event-reading.ts';
import type { Caller } from './new-execution.ts';
import { takeBytes } from './quotas.ts';
import { askOwner, type ControlRequest, type RemoteControl, whoeverHasIt } from './remote-control.ts';
import type { RunContext } from './run-context.ts';
import type { Runs } from './runs.ts';

const CANCELLED: Stop = { kind: 'cancelled', reason: 'cancelled_by_caller', text: 'Cancelled by the caller.' };

/** What changes the course of an execution that has been taken: done where it runs, asked for there from elsewhere. */
export class Steering {
  readonly #context: RunContext;
  readonly #runs: Runs;
  readonly #dispatcher: Dispatcher;
  readonly #remote: RemoteControl | undefined;

  constructor(context: RunContext, parts: { runs: Runs; dispatcher: Dispatcher; remote: RemoteControl | undefined }) {
    this.#context = context;
    this.#runs = parts.runs;
    this.#dispatcher = parts.dispatcher;
    this.#remote = parts.remote;
  }

  /** As `Executions.cancel`. */
  cancel(id: string, caller: Caller): Promise<Execution> {
    return whoeverHasIt(() => this.#cancelOnce(id, caller));
  }

  async #cancelOnce(id: string, caller: Caller): Promise<Execution> {
    const live = this.#runs.find(id, caller.tenant);
    if (live === undefined) {
      return (await this.#cancelWaiting(id, caller)) ?? this.#askOwner({ executionId: id, action: 'cancel' }, caller);
    }
    if (live.execution.cancelRequestedAt === null) {
      live.update({ cancelRequestedAt: new Date().toISOString() });
      const waits = live.execution.state === 'queued' && (await this.#dispatcher.withdraw(id));
      if (waits) await this.#runs.endUnstarted(live, CANCELLED);
      else live.requestStop(CANCELLED);
    }
    return withPosition(this.#dispatcher, live.snapshot());
  }

  /** As `Executions.pause`. */
  async pause(id: string, caller: Caller): Promise<Execution> {
    const live = this.#runs.find(id, caller.tenant);
    if (live === undefined) return this.#askOwner({ executionId: id, action: 'pause' }, caller);
    await live.pause();
    return live.snapshot();
  }

  /** As `Executions.resume`. */
  async resume(id: string, caller: Caller): Promise<Execution> {
    const live = this.#runs.find(id, caller.tenant);
    if (live === undefined) return this.#askOwner({ executionId: id, action: 'resume' }, caller);
    await live.resume('caller');
    return live.snapshot();
  }

  /** As `Executions.addInput`. */
  async addInput(id: string, text: string, caller: Caller): Promise<Execution> {
    await takeBytes(this.#context, caller, Buffer.byteLength(text));
    const live = this.#runs.find(id, caller.tenant);
    if (live === undefined) return this.#askOwner({ executionId: id, action: 'input', text }, caller);
    live.addTurn(text);
    return live.snapshot();
  }

  /** As `Executions.controlHere`. */
  async controlHere({ tenant, executionId, action, text = '' }: ControlRequest): Promise<Execution> {
    const live = this.#runs.find(executionId, tenant);
    if (live === undefined) {
      const { execution } = await this.#stored(executionId, { tenant });
      if (action === 'snapshot' || execution.state === 'finished') return execution;
      throw new ServiceError('conflict', `Execution ${executionId} does not run here`, {
        data: { state: execution.state },
      });
    }
    if (action === 'input') return this.addInput(executionId, text, { tenant });
    return action === 'snapshot' ? live.snapshot() : this[action](executionId, { tenant });
  }

  /** Ends an execution that waits in a shared queue, if no worker is faster. */
  async #cancelWaiting(id: string, caller: Caller): Promise<Execution | undefined> {
    if (this.#dispatcher.kind !== 'shared') return undefined;
    const { storage, settings } = this.#context;
    const { execution, fence } = await this.#stored(id, caller);
    if (execution.state !== 'queued') return undefined;
    const record = await storage.takeOver(id, fence, settings.instanceId);
    if (record === undefined) return undefined;
    await this.#dispatcher.withdraw(id);
    const live = this.#runs.adopt(record);
    live.update({ cancelRequestedAt: new Date().toISOString() });
    await this.#runs.endUnstarted(live, CANCELLED);
    return live.snapshot();
  }

  async #askOwner(request: Omit<ControlRequest, 'tenant'>, caller: Caller): Promise<Execution> {
    return askOwner(this.#remote, await this.#stored(request.executionId, caller), request);
  }

  #stored(id: string, { tenant }: Caller): Promise<ExecutionRecord> {
    return storedExecution(this.#context.storage, { id, tenant });
  }
}
