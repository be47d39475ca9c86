import { ServiceError } from '../protocol/errors.ts';
import { isEventType, type StoredEvent } from '../protocol/events.ts';
import { send, unanswered } from './call-server.ts';
import { notRunning, type ServerAddress } from './server-address.ts';
import { type SseMessage, SseOverflow, SseParser } from './sse-parser.ts';

/** One connection of `GET /v1/executions/:id/events` as an event stream; see `OpenEvents` for what it gives. */
export async function* sseEvents(
  server: ServerAddress,
  id: string,
  { after, signal }: { after: number; signal: AbortSignal },
): AsyncGenerator<readonly StoredEvent[], void, undefined> {
  const { requestMs, silentMs } = server.patience;
  const connection = new AbortController();
  const within = async <T>(ms: number, result: Promise<T>): Promise<T> => {
    const silent = (): void => connection.abort(notRunning(server, `silent for ${ms / 1000} s`));
    const timer = setTimeout(silent, ms);
    try {
      return await result;
    } finally {
      clearTimeout(timer);
    }
  };
  const call = {
    method: 'GET',
    path: `v1/executions/${encodeURIComponent(id)}/events`,
    query: { after },
    headers: { accept: 'text/event-stream' },
  } as const;
  try {
    const response = await within(requestMs, send(server, call, AbortSignal.any([signal, connection.signal])));
    if (response.status === 204) return;
    const reader = eventStreamOf(server, response).getReader();
    yield [];
    const read = new EventReading(server);
    for (;;) {
      const { done, value } = await within(silentMs, reader.read());
      if (done) throw notRunning(server, 'the event stream has ended early');
      const events = read.push(value);
      if (events.length > 0) yield events;
    }
  } catch (error) {
    if (error instanceof SseOverflow) throw new ServiceError('internal', `${server.name}: ${error.message}`);
    throw connection.signal.aborted ? connection.signal.reason : unanswered(server, error);
  } finally {
    connection.abort();
  }
}

function eventStreamOf(server: ServerAddress, { body, headers }: Response): ReadableStream<Uint8Array> {
  if (body !== null && (headers.get('content-type') ?? '').startsWith('text/event-stream')) return body;
  throw new ServiceError('internal', `${server.name} answered without an event stream; is it the right URL?`);
}

/** The events of the log among the messages of a stream: those with an id of their own. */
class EventReading {
  readonly #parser = new SseParser();
  readonly #server: ServerAddress;
  #lastId = '';

  constructor(server: ServerAddress) {
    this.#server = server;
  }

  push(bytes: Uint8Array): StoredEvent[] {
    return this.#parser.push(bytes).flatMap((message) => {
      if (message.id === this.#lastId) return [];
      this.#lastId = message.id;
      return [this.#toEvent(message)];
    });
  }

  #toEvent({ id, event, data }: SseMessage): StoredEvent {
    if (/^\d{1,15}$/.test(id) && isEventType(event)) return { seq: Number(id), type: event, bytes: data };
    throw new ServiceError('internal', `${this.#server.name} sent an event without seq or type`);
  }
}
