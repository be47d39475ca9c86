import type { Stop } from '../claude/outcome.ts';
import type { ExecutionRecord, Tenant } from '../storage/storage.ts';
import { LiveExecution } from './live-execution.ts';
import type { RunContext } from './run-context.ts';
import { dropSpare, finish, runExecution } from './run-execution.ts';
import type { Spare } from './warm-spare.ts';

const SHUT_DOWN: Stop = {
  kind: 'cancelled',
  reason: 'cancelled_by_caller',
  text: 'The service that ran it was shut down by its operator.',
};

/** The executions whose log this process writes: those that run here, and those that wait here for their turn. */
export class Runs {
  readonly #context: RunContext;
  readonly #live = new Map<string, LiveExecution>();

  constructor(context: RunContext) {
    this.#context = context;
  }

  /** Makes a stored execution that this instance owns and that has not started a live one. */
  adopt(record: ExecutionRecord, spare?: Spare): LiveExecution {
    const { eventLog, settings } = this.#context;
    const { id, lastSeq } = record.execution;
    const writer = eventLog.openWriter({
      executionId: id,
      fence: record.fence,
      lastSeq,
      onFailure: (error) => live.reportStorageFailure(error),
    });
    const stallAfterMs = record.request.stallAfterMs ?? settings.stallAfterMs;
    const live: LiveExecution = new LiveExecution(record, { writer, stallAfterMs, spare });
    this.#live.set(id, live);
    live.ended.then(
      () => this.#live.delete(id),
      () => {},
    );
    return live;
  }

  find(id: string, tenant: Tenant): LiveExecution | undefined {
    const live = this.#live.get(id);
    return live?.record.tenant === tenant ? live : undefined;
  }

  all(): LiveExecution[] {
    return [...this.#live.values()];
  }

  /** Runs it to its end. Never rejects for what the run does. */
  run(live: LiveExecution): Promise<void> {
    return runExecution(this.#context, live);
  }

  /**
   * Ends all of them, as the operator of the service has it; see `Executions.close`.
   * @param how.withdraw takes one out that waits; false when it does not wait
   */
  async endAll(how: {
    force: boolean;
    keepWaiting: boolean;
    withdraw(executionId: string): Promise<boolean>;
  }): Promise<void> {
    const ending = this.all().map(async (live) => {
      if (how.force) live.force.abort();
      if (!(await how.withdraw(live.execution.id))) live.requestStop(SHUT_DOWN);
      else if (how.keepWaiting) await this.leaveUnstarted(live);
      else await this.endUnstarted(live, SHUT_DOWN);
      await live.ended;
    });
    await Promise.all(ending);
  }

  /** Ends one that has not started, with its last event. */
  async endUnstarted(live: LiveExecution, stop: Stop): Promise<void> {
    const outcome = { kind: stop.kind, reason: stop.reason, message: stop.text, exitCode: null, signal: null };
    try {
      await dropSpare(this.#context, live);
      await finish(this.#context, live, outcome);
    } finally {
      live.finished();
    }
  }

  /** Lets go of one that has not started; it stays in the store as it is. */
  async leaveUnstarted(live: LiveExecution): Promise<void> {
    await dropSpare(this.#context, live);
    await live.writer.close();
    live.givenUp.abort();
    live.finished();
  }
}
