import type { Stop } from '../claude/outcome.ts';
import { outputContract } from '../claude/structured-output.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { StoredEvent } from '../protocol/events.ts';
import type { Execution } from '../protocol/execution.ts';
import { type ExecutionRequest, parseExecutionRequest } from '../protocol/execution-request.ts';
import type { ExecutionFilter, ExecutionRecord } from '../storage/storage.ts';
import { InProcessDispatcher } from './dispatcher.ts';
import { LiveExecution } from './live-execution.ts';
import type { Caller } from './new-execution.ts';
import type { RunContext } from './run-context.ts';
import { removeFoldersOf } from './run-directories.ts';
import { dropSpare, finish, runExecution } from './run-execution.ts';
import { storeExecution } from './store-execution.ts';
import { storedText } from './stored-text.ts';
import type { Spare } from './warm-spare.ts';

const CANCELLED: Stop = { kind: 'cancelled', reason: 'cancelled_by_caller', text: 'Cancelled by the caller.' };
const SHUT_DOWN: Stop = {
  kind: 'cancelled',
  reason: 'cancelled_by_caller',
  text: 'The service that ran it was shut down by its operator.',
};

/** All that can be asked of executions. Every door (command line, HTTP, WebSocket, MCP) calls these. */
export class Executions {
  readonly #context: RunContext;
  readonly #live = new Map<string, LiveExecution>();
  readonly #dispatcher: InProcessDispatcher;
  #state: 'open' | 'draining' = 'open';

  constructor(context: RunContext, limits: { maxConcurrent: number; queueLimit: number }) {
    this.#context = context;
    this.#dispatcher = new InProcessDispatcher({
      ...limits,
      storage: context.storage,
      instanceId: context.settings.instanceId,
      run: (live) => runExecution(context, live),
      onError: (error) => context.logger.error({ err: error }, 'an execution failed inside the service'),
    });
  }

  /**
   * Accepts an execution; when the promise resolves, it is stored. The same idempotency key with the same request
   * returns the execution of the first time.
   * @throws ServiceError `invalid_request`, `not_found` (session), `idempotency_conflict`, `queue_full`,
   * `not_implemented`, `shutting_down`, `storage_unavailable`
   */
  async start(input: unknown, caller: Caller): Promise<Execution> {
    if (this.#state === 'draining') {
      const data = { retryAfterMs: 5_000 };
      throw new ServiceError('shutting_down', 'The service is shutting down; try again later', { data });
    }
    const request = parseExecutionRequest(input);
    if (request.outputSchema !== undefined) outputContract(request.outputSchema);
    this.#dispatcher.assertRoom();
    const { warm } = this.#context;
    return warm.lend({ request, caller, atOnce: this.#startsAtOnce(request, caller) }, async (spare, keep) => {
      const { created, record } = await storeExecution(this.#context, { request, caller, spare: spare?.names });
      if (!created) return record.execution;
      keep();
      this.dispatch(record, spare);
      return this.#withPosition(record.execution);
    });
  }

  /** Hands a stored execution that has not started to the dispatcher. */
  dispatch(record: ExecutionRecord, spare?: Spare): void {
    const { eventLog, settings } = this.#context;
    const writer = eventLog.openWriter({
      executionId: record.execution.id,
      fence: record.fence,
      lastSeq: record.execution.lastSeq,
      onFailure: (error) => live.reportStorageFailure(error),
    });
    const stallAfterMs = record.request.stallAfterMs ?? settings.stallAfterMs;
    const live: LiveExecution = new LiveExecution(record, { writer, stallAfterMs, spare });
    const { id } = record.execution;
    this.#live.set(id, live);
    live.ended.then(
      () => this.#live.delete(id),
      () => {},
    );
    this.#dispatcher.dispatch(live);
  }

  /** @throws ServiceError `not_found` */
  async get(id: string, caller: Caller): Promise<Execution> {
    const live = this.#live.get(id);
    if (live !== undefined && live.record.tenant === caller.tenant) return this.#withPosition(live.snapshot());
    const { execution } = await this.#stored(id, caller);
    if (execution.state === 'finished' || execution.state === 'queued') return execution;
    const { text, lastSeq } = await storedText(this.#context.storage, id);
    return { ...execution, partialText: text, lastSeq };
  }

  /**
   * The same as JSON. One that has finished is passed on as it is stored.
   * @throws ServiceError `not_found`
   */
  async getJson(id: string, caller: Caller): Promise<string> {
    const stored = this.#live.has(id) ? undefined : await this.#context.storage.readExecution(caller.tenant, id);
    return stored?.state === 'finished' ? stored.json : JSON.stringify(await this.get(id, caller));
  }

  async list(
    filter: Omit<ExecutionFilter, 'tenant'>,
    caller: Caller,
  ): Promise<{ executions: Execution[]; nextCursor: string | null }> {
    return this.#context.storage.listExecutions({ ...filter, tenant: caller.tenant });
  }

  /**
   * The events after a cursor, in batches, until the execution has finished or `signal` aborts.
   * @throws ServiceError `not_found`, `cursor_in_future`, `truncated_before`, `storage_unavailable`
   */
  async *events(
    id: string,
    options: { after: number; signal?: AbortSignal },
    caller: Caller,
  ): AsyncGenerator<readonly StoredEvent[], void, undefined> {
    await this.#stored(id, caller);
    const givenUp = this.#live.get(id)?.givenUp.signal;
    const signals = [options.signal, givenUp].filter((signal) => signal !== undefined);
    yield* this.#context.eventLog.subscribe(id, { after: options.after, signal: AbortSignal.any(signals) });
    if (givenUp?.aborted) {
      throw new ServiceError(
        'storage_unavailable',
        `The end of execution ${id} could not be stored; the next start ends it as lost`,
      );
    }
  }

  /**
   * Up to `limit` events after a cursor. Where there are none yet, it waits for the first ones until `signal` aborts.
   * `finished`: nothing follows after these.
   * @throws ServiceError as `events`
   */
  async page(
    id: string,
    options: { after: number; limit: number; signal: AbortSignal },
    caller: Caller,
  ): Promise<{ events: readonly StoredEvent[]; finished: boolean }> {
    await this.#stored(id, caller);
    const { events, lastSeq, finished } = await this.#context.eventLog.page(id, options);
    if (events.length > 0 || finished)
      return { events, finished: finished && (events.at(-1)?.seq ?? lastSeq) === lastSeq };
    for await (const batch of this.events(id, options, caller)) {
      const first = batch.slice(0, options.limit);
      return { events: first, finished: first.at(-1)?.type === 'execution.finished' };
    }
    return { events: [], finished: false };
  }

  /**
   * Says whether a reader may start after this cursor.
   * @returns whether the log ends there: nothing follows, now or later
   * @throws ServiceError as `events`
   */
  async assertCursor(id: string, after: number, caller: Caller): Promise<{ atEnd: boolean }> {
    await this.#stored(id, caller);
    const { lastSeq, finished } = await this.#context.eventLog.page(id, { after, limit: 1 });
    return { atEnd: finished && after === lastSeq };
  }

  /**
   * The execution when it has finished, or as it is when `signal` aborts.
   * @throws ServiceError `not_found`, `storage_unavailable`
   */
  async ended(id: string, signal: AbortSignal, caller: Caller): Promise<Execution> {
    const { state, lastSeq } = await this.get(id, caller);
    if (state !== 'finished') for await (const _ of this.events(id, { after: lastSeq, signal }, caller));
    return this.get(id, caller);
  }

  /**
   * Asks for the end of an execution; `finished` follows when its processes are verified dead. Repeating it, and
   * asking it of a finished one, changes nothing.
   */
  async cancel(id: string, caller: Caller): Promise<Execution> {
    const live = await this.#controlled(id, caller);
    if (live === undefined) return this.get(id, caller);
    if (live.execution.cancelRequestedAt === null) {
      live.update({ cancelRequestedAt: new Date().toISOString() });
      if (this.#dispatcher.withdraw(id)) await this.#endUnstarted(live, CANCELLED);
      else live.requestStop(CANCELLED);
    }
    return this.#withPosition(live.snapshot());
  }

  /** @throws ServiceError `conflict` with the state, where it does not apply */
  async pause(id: string, caller: Caller): Promise<Execution> {
    const live = await this.#runningOnly(id, caller);
    await live.pause();
    return live.snapshot();
  }

  /** @throws ServiceError `conflict` with the state, where it does not apply */
  async resume(id: string, caller: Caller): Promise<Execution> {
    const live = await this.#runningOnly(id, caller);
    await live.resume('caller');
    return live.snapshot();
  }

  /**
   * Adds a user turn that runs after the current one.
   * @throws ServiceError `not_found`, `conflict` with the state, where no turn is under way
   */
  async addInput(id: string, text: string, caller: Caller): Promise<Execution> {
    const live = await this.#runningOnly(id, caller);
    live.addTurn(text);
    return live.snapshot();
  }

  /**
   * Removes a finished execution with its log, its fresh workspace, and its session where nothing else uses them.
   * @throws ServiceError `not_found`, `conflict` with the state, while it has not finished
   */
  async delete(id: string, { tenant }: Caller): Promise<void> {
    const { storage, logger } = this.#context;
    await removeFoldersOf(await storage.deleteExecution(tenant, id), logger);
  }

  /** How many run here, and how many wait here. */
  load(): { running: number; waiting: number } {
    return this.#dispatcher.load();
  }

  /**
   * Takes no more executions and starts none of those that wait. Resolves when the running ones have ended, or when
   * `signal` aborts.
   */
  async drain(signal: AbortSignal): Promise<void> {
    this.#state = 'draining';
    this.#context.warm.stop();
    this.#dispatcher.stop();
    const running = [...this.#live.values()].filter(({ execution }) => execution.state !== 'queued');
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([aborted, Promise.all(running.map((live) => live.ended))]);
  }

  /**
   * Ends every run of this process; `force` skips the graces. Those that wait are cancelled, or with `keepWaiting` stay
   * in the store for the next service. Resolves when all have their last event.
   */
  async close({ force, keepWaiting = false }: { force: boolean; keepWaiting?: boolean }): Promise<void> {
    this.#state = 'draining';
    this.#dispatcher.stop();
    const ending = [...this.#live.values()].map(async (live) => {
      if (force) live.force.abort();
      if (!this.#dispatcher.withdraw(live.execution.id)) live.requestStop(SHUT_DOWN);
      else if (keepWaiting) await this.#leaveUnstarted(live);
      else await this.#endUnstarted(live, SHUT_DOWN);
      await live.ended;
    });
    await Promise.all(ending);
  }

  #startsAtOnce({ workspace }: ExecutionRequest, { tenant }: Caller): boolean {
    const same = ({ record }: LiveExecution): boolean =>
      record.tenant === tenant && record.execution.workspace === workspace;
    return this.#dispatcher.startsAtOnce() && !(workspace !== undefined && [...this.#live.values()].some(same));
  }

  async #leaveUnstarted(live: LiveExecution): Promise<void> {
    await dropSpare(this.#context, live);
    await live.writer.close();
    live.givenUp.abort();
    live.finished();
  }

  async #endUnstarted(live: LiveExecution, stop: Stop): Promise<void> {
    const outcome = { kind: stop.kind, reason: stop.reason, message: stop.text, exitCode: null, signal: null };
    try {
      await dropSpare(this.#context, live);
      await finish(this.#context, live, outcome);
    } finally {
      live.finished();
    }
  }

  async #stored(id: string, { tenant }: Caller): Promise<ExecutionRecord> {
    const record = await this.#context.storage.getExecution(tenant, id);
    if (record === undefined) throw new ServiceError('not_found', `There is no execution ${id}`);
    return record;
  }

  /** The live execution to control; undefined when it has finished. */
  async #controlled(id: string, caller: Caller): Promise<LiveExecution | undefined> {
    const live = this.#live.get(id);
    if (live !== undefined && live.record.tenant === caller.tenant) return live;
    const { execution } = await this.#stored(id, caller);
    if (execution.state === 'finished') return undefined;
    const message = `Execution ${id} belongs to another process on this data folder; control it there`;
    throw new ServiceError('conflict', message, { data: { state: execution.state } });
  }

  async #runningOnly(id: string, caller: Caller): Promise<LiveExecution> {
    const live = await this.#controlled(id, caller);
    if (live !== undefined) return live;
    throw new ServiceError('conflict', `Execution ${id} has finished`, { data: { state: 'finished' } });
  }

  #withPosition(execution: Execution): Execution {
    return { ...execution, queuePosition: this.#dispatcher.queuePosition(execution.id) };
  }
}
