import { onTestFinished } from 'vitest';
import { WrongKeys } from '../../src/auth/wrong-keys.ts';
import type { EventWriter } from '../../src/event-log/event-writer.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { ServiceError } from '../../src/protocol/errors.ts';
import type { Execution } from '../../src/protocol/execution.ts';
import { parseExecutionRequest } from '../../src/protocol/execution-request.ts';
import { Connection, type ConnectionDoor, type ConnectionLimits } from '../../src/transport/websocket/connection.ts';
import { type Fragment, OUTBOUND_LIMITS, type Socket } from '../../src/transport/websocket/outbound.ts';
import { eventLogFixture } from './event-log-fixture.ts';
import { finishedOf, SUCCEEDED } from './execution-records.ts';
import { principalWith } from './principals.ts';

export const KEY = 'the-key';
const CALLER = { tenant: 'local' };

/** A JSON-RPC message as a client meets it. */
export interface Message {
  id?: unknown;
  method?: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a test reads of it differs from method to method
  params?: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  result?: any;
  error?: { code: number; message: string; data?: { code: string; [fact: string]: unknown } };
}

/** A socket that keeps what it is given; while it is not read, nothing is taken from it. */
export class LinkedSocket implements Socket {
  readonly texts: string[] = [];
  closed: { code: number; reason: string } | undefined;
  terminated = false;
  paused = false;
  #reading = true;
  readonly #untaken: (() => void)[] = [];
  #parts: Buffer[] = [];

  send({ data, last }: Fragment, done: () => void): void {
    this.#parts.push(data);
    if (last) this.texts.push(Buffer.concat(this.#parts.splice(0)).toString());
    if (this.#reading) setImmediate(done);
    else this.#untaken.push(done);
  }

  close(code: number, reason: string): void {
    this.closed = { code, reason };
  }

  terminate(): void {
    this.terminated = true;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  stopReading(): void {
    this.#reading = false;
  }

  read(): void {
    this.#reading = true;
    for (const done of this.#untaken.splice(0)) setImmediate(done);
  }
}

/** Polls until it is so. */
export async function until(condition: () => boolean, what: string, withinMs = 10_000): Promise<void> {
  for (const deadline = Date.now() + withinMs; !condition(); ) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A connection over a linked socket, seen from the client. */
export class Peer {
  readonly socket = new LinkedSocket();
  readonly connection: Connection;
  #lastId = 0;

  constructor(
    door: ConnectionDoor,
    options: { key?: string | undefined; originAllowed?: boolean; limits?: Partial<ConnectionLimits> } = { key: KEY },
  ) {
    const limits = { ...OUTBOUND_LIMITS, authenticateWithinMs: 5_000, askEveryMs: 20_000, ...options.limits };
    const from = { address: '192.0.2.1', requestId: 'request' };
    const opening = { ...from, key: options.key, originAllowed: options.originAllowed ?? true };
    this.connection = new Connection({ door, socket: this.socket }, opening, limits);
    onTestFinished(() => this.connection.ended());
  }

  /** Everything received, batches opened. */
  get messages(): Message[] {
    return this.socket.texts.flatMap((text): Message[] => JSON.parse(text));
  }

  send(message: unknown): void {
    this.connection.receive(typeof message === 'string' ? message : JSON.stringify(message));
  }

  async call(method: string, params?: unknown): Promise<Message> {
    this.#lastId += 1;
    const id = this.#lastId;
    this.send({ jsonrpc: '2.0', method, params, id });
    return this.message((message) => message.id === id);
  }

  async message(wanted: (message: Message) => boolean): Promise<Message> {
    await until(() => this.messages.some(wanted), 'a message');
    return this.messages.find(wanted) ?? {};
  }

  /** The seqs of an execution's event frames so far. */
  seqs(): number[] {
    return this.messages.filter(({ method }) => method === 'event').map(({ params }) => params.seq);
  }

  async closeCode(): Promise<number | undefined> {
    await until(() => this.socket.closed !== undefined, 'closed');
    return this.socket.closed?.code;
  }
}

export interface DoorFixture {
  door: ConnectionDoor;
  /** The executions that were started, in order. */
  started: string[];
  /** What `executions.cancel` was called with. */
  cancelled: string[];
  draining: AbortController;
  closing: AbortController;
  removeLog(execution: Execution): Promise<void>;
  write(id: string, events: number, text?: string): Promise<void>;
  finish(execution: Execution): Promise<void>;
}

/** A door to executions that do only what the test writes into their logs. The logs and the store are real. */
export async function doorFixture(changes: Partial<ConnectionDoor['executions']> = {}): Promise<DoorFixture> {
  const { storage, log, create } = await eventLogFixture();
  const writers = new Map<string, EventWriter>();
  const byKey = new Map<string, Execution>();
  const started: string[] = [];
  const cancelled: string[] = [];
  const draining = new AbortController();
  const closing = new AbortController();
  const get = async (id: string): Promise<Execution> => {
    const record = await storage.getExecution(CALLER.tenant, id);
    if (record === undefined) throw new ServiceError('not_found', `There is no execution ${id}`);
    return record.execution;
  };
  const start = async (input: unknown): Promise<Execution> => {
    const { idempotencyKey } = parseExecutionRequest(input);
    const known = idempotencyKey === undefined ? undefined : byKey.get(idempotencyKey);
    if (known !== undefined) return known;
    const { execution } = await create();
    writers.set(execution.id, log.openWriter({ executionId: execution.id, fence: 1, lastSeq: 1 }));
    started.push(execution.id);
    if (idempotencyKey !== undefined) byKey.set(idempotencyKey, execution);
    return execution;
  };
  const writerOf = (id: string): EventWriter => {
    const writer = writers.get(id);
    if (writer === undefined) throw new Error(`no writer of ${id}`);
    return writer;
  };
  const executions: ConnectionDoor['executions'] = {
    start,
    get,
    list: (filter, { tenant }) => storage.listExecutions({ ...filter, tenant }),
    events: async function* (id, options) {
      yield* log.subscribe(id, options);
    },
    assertCursor: async (id, after) => {
      const { lastSeq, finished } = await log.page(id, { after, limit: 1 });
      return { atEnd: finished && lastSeq === after };
    },
    cancel: (id) => {
      cancelled.push(id);
      return get(id);
    },
    pause: get,
    resume: get,
    addInput: get,
    ...changes,
  };
  const callers: ConnectionDoor['callers'] = {
    verify: async (key) => (key === KEY ? principalWith({}) : undefined),
  };
  const wrongKeys = new WrongKeys({ limit: 3, share: undefined, onRefused: () => {} });
  const logger = createLogger('silent');
  const documents = { openApi: {}, openRpc: {} };
  return {
    door: {
      ...{ executions, callers, wrongKeys, logger, documents, open: false },
      ...{ draining: draining.signal, drainMs: 1_234, closing: closing.signal },
    },
    started,
    cancelled,
    draining,
    closing,
    removeLog: async ({ id }) => void (await storage.deleteExecution(CALLER.tenant, id)),
    write: async (id, events, text = 'x') => {
      for (let count = 0; count < events; count += 1) writerOf(id).append('claude.stderr', { text });
      await writerOf(id).flush();
    },
    finish: async (execution) => {
      const end = { outcome: SUCCEEDED, receiptId: null };
      writerOf(execution.id).append('execution.finished', end, finishedOf(execution));
      await writerOf(execution.id).flush();
    },
  };
}
