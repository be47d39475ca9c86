import { z } from 'zod';
import { ServiceError } from '../protocol/errors.ts';
import { isEventType, type StoredEvent } from '../protocol/events.ts';
import { parsedJson } from '../protocol/json.ts';
import { CLOSE_CODES, RPC_NOTIFICATIONS } from '../protocol/rpc-methods.ts';
import { refusalOf } from './refusal.ts';
import { notRunning, type ServerAddress } from './server-address.ts';

/**
 * Characters that may wait for a slow reader, and one event more, whatever its length. What comes then ends the
 * connection, which is made again when they are read.
 */
const MAX_WAITING = 64 * 1024 * 1024;
const PING_EVERY_MS = 15_000;

/** The frame of an event is these, and between them its bytes as they were stored. */
const EVENT_HEAD = '{"jsonrpc":"2.0","method":"event","params":';
const EVENT_TAIL = '}';

const EventFrame = z.object({
  params: z.object({ executionId: z.string(), seq: z.int().min(1), type: z.string() }),
});
const Closed = z.object({
  method: z.literal('subscription.closed'),
  params: RPC_NOTIFICATIONS['subscription.closed'].params,
});
const RpcError = z.object({
  message: z.string(),
  data: z.looseObject({ code: z.string() }).catch({ code: 'internal' }),
});
const Answer = z.union([
  z.object({ id: z.string(), error: RpcError }),
  z.object({ id: z.string(), result: z.unknown() }),
]);

type Call = 'authenticate' | 'subscribe' | 'ping';

/**
 * A WebSocket with one subscription: connect, present the key, subscribe, then events until it ends. The calls have
 * their method as id, because no two of a kind are under way at once but pings, whose answers say the same.
 */
export class EventSocket {
  readonly #server: ServerAddress;
  readonly #wanted: { executionId: string; after: number };
  readonly #socket: WebSocket;
  readonly #watch: ReturnType<typeof setInterval>;
  #heardAt = performance.now();
  #subscribed = false;
  #waiting: StoredEvent[] | undefined;
  #waitingLength = 0;
  #end: ServiceError | 'finished' | undefined;
  #wake: () => void = () => {};

  constructor(server: ServerAddress, wanted: { executionId: string; after: number }) {
    this.#server = server;
    this.#wanted = wanted;
    const url = new URL('v1/ws', server.base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#opened();
    this.#socket.onmessage = ({ data }) => this.#received(data);
    this.#socket.onclose = ({ code, reason }) => this.end(this.#closeError(code, reason));
    const { silentMs, requestMs } = server.patience;
    this.#watch = setInterval(() => this.#tick(), Math.min(PING_EVERY_MS, silentMs / 3, requestMs / 3));
  }

  /**
   * The next events; an empty batch when the subscription stands; undefined when nothing can follow.
   * @throws ServiceError why it has ended, once everything that had come is read
   */
  async next(): Promise<readonly StoredEvent[] | undefined> {
    while (this.#waiting === undefined && this.#end === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const events = this.#waiting;
    this.#waiting = undefined;
    this.#waitingLength = 0;
    if (events !== undefined) return events;
    if (this.#end === 'finished') return undefined;
    throw this.#end;
  }

  /** Closes the connection; the first reason counts. */
  end(why: ServiceError | 'finished'): void {
    this.#end ??= why;
    clearInterval(this.#watch);
    if (this.#socket.readyState <= WebSocket.OPEN) this.#socket.close();
    this.#wake();
  }

  #call(method: Call, params: Readonly<Record<string, unknown>>): void {
    this.#socket.send(JSON.stringify({ jsonrpc: '2.0', id: method, method, params }));
  }

  #opened(): void {
    const { key } = this.#server;
    if (key === undefined) this.#call('subscribe', this.#wanted);
    else this.#call('authenticate', { key });
  }

  /** A silent connection is told from a silent run by the answers to pings. */
  #tick(): void {
    const { silentMs, requestMs } = this.#server.patience;
    const limit = this.#subscribed ? silentMs : requestMs;
    if (performance.now() - this.#heardAt > limit) this.end(notRunning(this.#server, `silent for ${limit / 1000} s`));
    else if (this.#subscribed) this.#call('ping', {});
  }

  #received(frame: unknown): void {
    this.#heardAt = performance.now();
    if (this.#end !== undefined) return;
    const value = typeof frame === 'string' ? parsedJson(frame) : undefined;
    if (typeof frame !== 'string' || value === undefined) this.#garbled('a frame that is no JSON');
    else if (frame.startsWith(EVENT_HEAD)) this.#event(frame.slice(EVENT_HEAD.length, -EVENT_TAIL.length), value);
    else this.#other(value);
  }

  /** What is none of these is of a newer service, and about something else. */
  #other(frame: unknown): void {
    const closed = Closed.safeParse(frame);
    const answer = Answer.safeParse(frame);
    if (closed.success) this.end(this.#closedError(closed.data.params.reason));
    else if (answer.success) this.#answered(answer.data);
  }

  #event(bytes: string, frame: unknown): void {
    const facts = EventFrame.safeParse(frame).data?.params;
    if (facts === undefined || !isEventType(facts.type)) this.#garbled('an event without seq or type');
    else if (this.#waitingLength > MAX_WAITING) this.end(notRunning(this.#server, 'events are read too slowly here'));
    else if (facts.executionId === this.#wanted.executionId) this.#add({ seq: facts.seq, type: facts.type, bytes });
  }

  #add(event: StoredEvent): void {
    this.#waiting ??= [];
    this.#waiting.push(event);
    this.#waitingLength += event.bytes.length;
    this.#wake();
  }

  #answered(answer: z.output<typeof Answer>): void {
    if ('error' in answer) {
      const { message, data } = answer.error;
      this.end(refusalOf({ ...data, detail: message }) ?? new ServiceError('internal', message));
    } else if (answer.id === 'authenticate') {
      this.#call('subscribe', this.#wanted);
    } else if (answer.id === 'subscribe') {
      this.#subscribed = true;
      this.#waiting ??= [];
      this.#wake();
    }
  }

  #garbled(what: string): void {
    const url = `${this.#server.name} sent ${what} over the WebSocket`;
    this.end(new ServiceError('internal', `${url}; is it another version of the service?`));
  }

  #closedError(reason: z.output<typeof Closed>['params']['reason']): ServiceError | 'finished' {
    if (reason === 'finished') return 'finished';
    if (reason === 'deleted') return new ServiceError('not_found', 'The execution was deleted while it was read');
    if (reason === 'unauthenticated') return this.#closeError(CLOSE_CODES.unauthenticated.code, reason);
    return notRunning(this.#server, `it has ended the subscription: ${reason}`);
  }

  #closeError(code: number, reason: string): ServiceError {
    if (code === CLOSE_CODES.unauthenticated.code) {
      return new ServiceError('unauthenticated', `${this.#server.name} does not take this key, or no longer`);
    }
    if (code === CLOSE_CODES.origin.code) {
      return new ServiceError('origin_refused', `${this.#server.name} takes no calls from pages of this origin`);
    }
    return notRunning(this.#server, `the WebSocket was closed with ${code}${reason === '' ? '' : `: ${reason}`}`);
  }
}
