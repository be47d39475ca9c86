import type { Executions } from '../../executions/executions.ts';
import type { Caller } from '../../executions/new-execution.ts';
import { ServiceError } from '../../protocol/errors.ts';
import type { CLOSE_REASONS } from '../../protocol/rpc-methods.ts';
import { eventFrame, notificationFrame } from './notifications.ts';
import type { Outbound } from './outbound.ts';

/** The most subscriptions of a connection. */
export const MAX_SUBSCRIPTIONS = 1_000;

type CloseReason = (typeof CLOSE_REASONS)[number];

interface Subscription {
  executionId: string;
  caller: Caller;
  /** `answered`: the answer of the call that made it is queued, so events may follow. */
  state: 'made' | 'answered';
  /** The last event that was queued, or the cursor it started from. */
  lastSeq: number;
  stop: AbortController;
}

export interface SubscriptionsDeps {
  executions: Pick<Executions, 'events'>;
  outbound: Outbound;
  onDefect(error: unknown): void;
}

/** The executions whose events a connection receives. */
export class Subscriptions {
  readonly #deps: SubscriptionsDeps;
  readonly #open = new Map<string, Subscription>();
  #reserved = 0;

  constructor(deps: SubscriptionsDeps) {
    this.#deps = deps;
  }

  has(executionId: string): boolean {
    return this.#open.has(executionId);
  }

  /**
   * Does something at whose end there is certainly room for one more.
   * @throws ServiceError `too_many`, before anything is done
   */
  async withRoom<T>(act: () => Promise<T>): Promise<T> {
    if (this.#open.size + this.#reserved >= MAX_SUBSCRIPTIONS) {
      const message = `A connection has at most ${MAX_SUBSCRIPTIONS} subscriptions; end some, or open another one`;
      throw new ServiceError('too_many', message, { data: { retryAfterMs: 1_000 } });
    }
    this.#reserved += 1;
    try {
      return await act();
    } finally {
      this.#reserved -= 1;
    }
  }

  /** Makes a subscription; the function that is returned lets its events flow. */
  add(executionId: string, { after, caller }: { after: number; caller: Caller }): () => void {
    const subscription: Subscription = {
      executionId,
      caller,
      state: 'made',
      lastSeq: after,
      stop: new AbortController(),
    };
    this.#open.set(executionId, subscription);
    return () => {
      if (subscription.stop.signal.aborted) return;
      subscription.state = 'answered';
      void this.#follow(subscription);
    };
  }

  /** Ends a subscription without a word; returns the last event that was queued, undefined if there is none. */
  remove(executionId: string): number | undefined {
    const subscription = this.#open.get(executionId);
    this.#open.delete(executionId);
    subscription?.stop.abort();
    return subscription?.lastSeq;
  }

  /** Ends every subscription, telling the client why where there is a reason. */
  endAll(reason?: CloseReason): void {
    for (const subscription of [...this.#open.values()]) {
      this.remove(subscription.executionId);
      if (reason !== undefined && subscription.state === 'answered') this.#tell(subscription, reason);
    }
  }

  /** Never rejects. The next batch is asked for when all of this one is queued: a slow reader costs no memory. */
  async #follow(subscription: Subscription): Promise<void> {
    const { executionId, caller, stop } = subscription;
    let reason: CloseReason = 'finished';
    try {
      const options = { after: subscription.lastSeq, signal: stop.signal };
      for await (const batch of this.#deps.executions.events(executionId, options, caller)) {
        for (const event of batch) {
          const frame = eventFrame(event);
          if (!this.#deps.outbound.hasRoom(frame.length)) await this.#deps.outbound.room(frame.length);
          if (stop.signal.aborted) return;
          this.#deps.outbound.push(frame);
          subscription.lastSeq = event.seq;
        }
      }
    } catch (error) {
      reason = reasonOf(error);
      if (reason === 'internal') this.#deps.onDefect(error);
    }
    if (stop.signal.aborted) return;
    this.#open.delete(executionId);
    this.#tell(subscription, reason);
  }

  #tell({ executionId, lastSeq }: Subscription, reason: CloseReason): void {
    this.#deps.outbound.push(notificationFrame('subscription.closed', { executionId, reason, lastSeq }));
  }
}

/** A log that was cut while it was read has lost what comes next, like one that was deleted. */
function reasonOf(error: unknown): CloseReason {
  if (!(error instanceof ServiceError)) return 'internal';
  if (error.code === 'not_found' || error.code === 'truncated_before') return 'deleted';
  return error.code === 'storage_unavailable' ? 'storage_unavailable' : 'internal';
}
