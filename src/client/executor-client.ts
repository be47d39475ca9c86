import type { StoredEvent } from '../protocol/events.ts';
import type { Execution } from '../protocol/execution.ts';
import type { ExecutionRequestInput } from '../protocol/execution-request.ts';

export interface ListOptions {
  state?: Execution['state'];
  outcome?: NonNullable<Execution['outcome']>['kind'];
  sessionId?: string;
  limit: number;
  cursor?: string;
}

export interface EventsOptions {
  /** The seq after which to go on; 0 for the whole log. */
  after: number;
  signal?: AbortSignal;
  /** Told once for every loss of the connection to a server; reading goes on by itself. */
  onReconnect?(reason: string): void;
}

/** What the command line asks of a service, whether it is embedded in the same process or a server elsewhere. */
export interface ExecutorClient {
  execute(request: ExecutionRequestInput): Promise<Execution>;
  get(id: string): Promise<Execution>;
  list(options: ListOptions): Promise<{ executions: Execution[]; nextCursor: string | null }>;
  /** The events after a cursor, in batches, until the execution has finished or `signal` aborts. */
  events(id: string, options: EventsOptions): AsyncIterable<readonly StoredEvent[]>;
  cancel(id: string): Promise<Execution>;
  pause(id: string): Promise<Execution>;
  resume(id: string): Promise<Execution>;
  /** Ends the connection; an embedded service ends with its runs, at once when `force` is set. */
  close(options: { force: boolean }): Promise<void>;
}
