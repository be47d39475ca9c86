import { once } from 'node:events';
import { outputContract } from '../claude/structured-output.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { StoredEvent } from '../protocol/events.ts';
import type { Execution } from '../protocol/execution.ts';
import { type ExecutionRequest, parseExecutionRequest } from '../protocol/execution-request.ts';
import type { ExecutionFilter, ExecutionRecord } from '../storage/storage.ts';
import { type Dispatcher, withPosition } from './dispatcher.ts';
import { assertCursor, followEvents, type Reading, readPage, storedExecution } from './event-reading.ts';
import type { LiveExecution } from './live-execution.ts';
import type { Caller } from './new-execution.ts';
import { type ControlRequest, type RemoteControl, snapshotAtOwner } from './remote-control.ts';
import type { RunContext } from './run-context.ts';
import { removeFoldersOf } from './run-directories.ts';
import type { Runs } from './runs.ts';
import { Steering } from './steering.ts';
import { findRepeated, storeExecution } from './store-execution.ts';
import { storedText } from './stored-text.ts';

/** All that can be asked of executions. Every door (command line, HTTP, WebSocket, MCP) calls these. */
export class Executions {
  readonly #context: RunContext;
  readonly #runs: Runs;
  readonly #dispatcher: Dispatcher;
  readonly #remote: RemoteControl | undefined;
  readonly #steering: Steering;
  #state: 'open' | 'draining' = 'open';

  /** @param parts.remote the way to executions of other processes, where there is one */
  constructor(context: RunContext, parts: { runs: Runs; dispatcher: Dispatcher; remote: RemoteControl | undefined }) {
    this.#context = context;
    this.#runs = parts.runs;
    this.#dispatcher = parts.dispatcher;
    this.#remote = parts.remote;
    this.#steering = new Steering(context, parts);
  }

  /**
   * Accepts an execution; when the promise resolves, it is stored. The same idempotency key with the same request
   * returns the execution of the first time.
   * @throws ServiceError `invalid_request`, `not_found` (session), `idempotency_conflict`, `too_many`, `quota_exceeded`,
   * `queue_full`, `isolation_unavailable`, `credential_unusable`, `shutting_down`, `storage_unavailable`
   */
  async start(input: unknown, caller: Caller): Promise<Execution> {
    const request = parseExecutionRequest(input);
    if (request.outputSchema !== undefined) outputContract(request.outputSchema);
    const refusal = await this.#refusal();
    if (refusal !== undefined) {
      const known = await findRepeated(this.#context, request, caller);
      if (known === undefined) throw refusal;
      return withPosition(this.#dispatcher, known);
    }
    const { warm } = this.#context;
    return warm.lend({ request, caller, atOnce: this.#startsAtOnce(request, caller) }, async (spare, keep) => {
      const { created, record } = await storeExecution(this.#context, { request, caller, spare: spare?.names });
      if (!created) return record.execution;
      keep();
      await this.#dispatcher.dispatch(record, spare);
      return withPosition(this.#dispatcher, record.execution);
    });
  }

  /** @throws ServiceError `not_found` */
  async get(id: string, caller: Caller): Promise<Execution> {
    const live = this.#runs.find(id, caller.tenant);
    if (live !== undefined) return withPosition(this.#dispatcher, live.snapshot());
    const record = await this.#stored(id, caller);
    const { execution } = record;
    if (execution.state === 'finished') return execution;
    if (execution.state === 'queued') return withPosition(this.#dispatcher, execution);
    const there = await snapshotAtOwner(this.#remote, record);
    if (there !== undefined) return there;
    const { text, lastSeq } = await storedText(this.#context.storage, id);
    return { ...execution, partialText: text, lastSeq };
  }

  /**
   * The same as JSON. One that has finished is passed on as it is stored.
   * @throws ServiceError `not_found`
   */
  async getJson(id: string, caller: Caller): Promise<string> {
    const stored =
      this.#runs.find(id, caller.tenant) !== undefined
        ? undefined
        : await this.#context.storage.readExecution(caller.tenant, id);
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
  events(
    id: string,
    options: { after: number; signal?: AbortSignal },
    caller: Caller,
  ): AsyncGenerator<readonly StoredEvent[], void, undefined> {
    return followEvents(this.#reading, options, { id, tenant: caller.tenant });
  }

  /**
   * Up to `limit` events after a cursor. Where there are none yet, it waits for the first ones until `signal` aborts.
   * `finished`: nothing follows after these.
   * @throws ServiceError as `events`
   */
  page(
    id: string,
    options: { after: number; limit: number; signal: AbortSignal },
    caller: Caller,
  ): Promise<{ events: readonly StoredEvent[]; finished: boolean }> {
    return readPage(this.#reading, options, { id, tenant: caller.tenant });
  }

  /**
   * Says whether a reader may start after this cursor.
   * @returns whether the log ends there: nothing follows, now or later
   * @throws ServiceError as `events`
   */
  assertCursor(id: string, after: number, caller: Caller): Promise<{ atEnd: boolean }> {
    return assertCursor(this.#reading, after, { id, tenant: caller.tenant });
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
  cancel(id: string, caller: Caller): Promise<Execution> {
    return this.#steering.cancel(id, caller);
  }

  /** @throws ServiceError `conflict` with the state, where it does not apply */
  pause(id: string, caller: Caller): Promise<Execution> {
    return this.#steering.pause(id, caller);
  }

  /** @throws ServiceError `conflict` with the state, where it does not apply */
  resume(id: string, caller: Caller): Promise<Execution> {
    return this.#steering.resume(id, caller);
  }

  /**
   * Adds a user turn that runs after the current one.
   * @throws ServiceError `not_found`, `conflict` with the state, where no turn is under way
   */
  addInput(id: string, text: string, caller: Caller): Promise<Execution> {
    return this.#steering.addInput(id, text, caller);
  }

  /**
   * Does what another process asks of an execution that runs here.
   * @throws ServiceError `conflict` when it does not run here; those of the action
   */
  controlHere(request: ControlRequest): Promise<Execution> {
    return this.#steering.controlHere(request);
  }

  /**
   * Removes a finished execution with its log, its fresh workspace, and its session where nothing else uses them.
   * @throws ServiceError `not_found`, `conflict` with the state, while it has not finished
   */
  async delete(id: string, { tenant }: Caller): Promise<void> {
    const { storage, logger } = this.#context;
    await removeFoldersOf(await storage.deleteExecution(tenant, id), logger);
  }

  /**
   * Says whether an execution could be taken now.
   * @throws ServiceError `queue_full`, `storage_unavailable`
   */
  assertQueue(): Promise<void> {
    return this.#dispatcher.assertRoom();
  }

  /** How many run here, and how many wait. */
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
    const running = this.#runs.all().filter(({ execution }) => execution.state !== 'queued');
    const ended = Promise.all(running.map((live) => live.ended));
    if (!signal.aborted) await Promise.race([once(signal, 'abort'), ended]);
  }

  /**
   * Ends every run of this process; `force` skips the graces. Those that wait are cancelled, or with `keepWaiting` stay
   * in the store for the next service. Resolves when all have their last event.
   */
  async close({ force, keepWaiting = false }: { force: boolean; keepWaiting?: boolean }): Promise<void> {
    this.#state = 'draining';
    this.#dispatcher.stop();
    await this.#runs.endAll({ force, keepWaiting, withdraw: (id) => this.#dispatcher.withdraw(id) });
  }

  /** Why no new execution is taken now; one that was taken before is found all the same. */
  async #refusal(): Promise<ServiceError | undefined> {
    if (this.#state === 'draining') {
      const data = { retryAfterMs: 5_000 };
      return new ServiceError('shutting_down', 'The service is shutting down; try again later', { data });
    }
    try {
      await this.#dispatcher.assertRoom();
      return undefined;
    } catch (error) {
      if (error instanceof ServiceError) return error;
      throw error;
    }
  }

  #startsAtOnce({ workspace }: ExecutionRequest, { tenant }: Caller): boolean {
    const same = ({ record }: LiveExecution): boolean =>
      record.tenant === tenant && record.execution.workspace === workspace;
    return this.#dispatcher.startsAtOnce() && !(workspace !== undefined && this.#runs.all().some(same));
  }

  get #reading(): Reading {
    return { ...this.#context, runs: this.#runs };
  }

  #stored(id: string, { tenant }: Caller): Promise<ExecutionRecord> {
    return storedExecution(this.#context.storage, { id, tenant });
  }
}
