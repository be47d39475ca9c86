import type { Executions } from '../../executions/executions.ts';
import type { Caller } from '../../executions/new-execution.ts';
import { ServiceError } from '../../protocol/errors.ts';

const MAX_BOUND = 1_000;

export interface BoundRunsDeps {
  executions: Pick<Executions, 'get' | 'cancel'>;
  onDefect(error: unknown): void;
}

/** The executions that a connection created with `cancelOnDisconnect`: they end when it does. */
export class BoundRuns {
  readonly #deps: BoundRunsDeps;
  readonly #bound = new Map<string, Caller>();
  #state: 'open' | 'cancelling' | 'released' = 'open';

  constructor(deps: BoundRunsDeps) {
    this.#deps = deps;
  }

  /**
   * Makes room for one more, by forgetting those that have finished.
   * @throws ServiceError `too_many`
   */
  async assertRoom(): Promise<void> {
    if (this.#bound.size < MAX_BOUND) return;
    for (const [id, caller] of [...this.#bound]) {
      if (await this.#ended(id, caller)) this.#bound.delete(id);
    }
    if (this.#bound.size < MAX_BOUND) return;
    const message = `At most ${MAX_BOUND} unfinished executions may end with one connection; open another one`;
    throw new ServiceError('too_many', message, { data: { retryAfterMs: 1_000 } });
  }

  /** Binds an execution, also one whose acceptance the connection did not live to see. */
  bind(id: string, caller: Caller): void {
    if (this.#state === 'cancelling') void this.#cancel(id, caller);
    else if (this.#state === 'open') this.#bound.set(id, caller);
  }

  /** The connection has ended. */
  cancelAll(): void {
    if (this.#state !== 'open') return;
    this.#state = 'cancelling';
    for (const [id, caller] of this.#bound) void this.#cancel(id, caller);
    this.#bound.clear();
  }

  /** The connection ends for a reason that is not the client's: nothing is cancelled. */
  release(): void {
    if (this.#state === 'open') this.#state = 'released';
    this.#bound.clear();
  }

  async #ended(id: string, caller: Caller): Promise<boolean> {
    try {
      return (await this.#deps.executions.get(id, caller)).state === 'finished';
    } catch (error) {
      if (error instanceof ServiceError && error.code === 'not_found') return true;
      throw error;
    }
  }

  /** Never rejects: nobody is left to be told. */
  async #cancel(id: string, caller: Caller): Promise<void> {
    try {
      await this.#deps.executions.cancel(id, caller);
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === 'not_found')) this.#deps.onDefect(error);
    }
  }
}
