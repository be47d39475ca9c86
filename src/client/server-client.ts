import { z } from 'zod';
import { AuditPage, type ChainLink } from '../protocol/audit.ts';
import { ServiceError } from '../protocol/errors.ts';
import { Execution } from '../protocol/execution.ts';
import type { ExecutionRequestInput } from '../protocol/execution-request.ts';
import { ExecutionPage } from '../protocol/http-schemas.ts';
import { auditLines } from './audit-lines.ts';
import { type Call, callServer, wasRefused } from './call-server.ts';
import type { ExecutorClient } from './executor-client.ts';
import { followEvents, type OpenEvents, sleep } from './follow-events.ts';
import { PATIENCE, type Patience, type ServerAddress, serverAddress } from './server-address.ts';
import { sseEvents } from './sse-events.ts';
import { websocketEvents } from './websocket-events.ts';

const FIRST_RETRY_MS = 100;
const MAX_RETRIES = 5;
/** How long a forced close waits for calls that are under way, such as a cancel. */
const LAST_CALLS_MS = 2_000;

export interface ServerOptions {
  /** http or https, also with a path when the service lies behind one. */
  url: string;
  key: string | undefined;
  /** How events come; calls are HTTP requests either way. */
  transport?: 'sse' | 'websocket';
  patience?: Partial<Patience>;
}

/** A service as it is seen over the network. */
export interface ServerClient extends ExecutorClient {
  /** Without a slash at its end. */
  readonly url: string;
  /** Adds a user turn that runs after the current one. */
  input(id: string, text: string): Promise<Execution>;
  /** Removes a finished execution with its log. */
  delete(id: string): Promise<void>;
  /** The entries of the audit log after one, as they are stored, up to the newest. */
  audit(after: number): AsyncIterable<string>;
  /** The newest entry of the audit log, and the last one that retention removed. */
  auditEnds(): Promise<{ last: ChainLink; cut: ChainLink }>;
}

/**
 * A client of a server; nothing is sent before the first call. Every call throws ServiceError: what the server refuses,
 * with its code and facts; `not_running` when it does not answer; `internal` for an answer that is not one of it.
 * Answers that are lost on their way are asked for again, where doing it twice is like doing it once.
 * @throws ServiceError `invalid_request` for what is no URL, or no key
 */
export function connectServer(options: ServerOptions): ServerClient {
  const server = serverAddress({ ...options, patience: { ...PATIENCE, ...options.patience } });
  const closing = new AbortController();
  const underWay = new Set<Promise<unknown>>();
  const tracked = <T>(result: Promise<T>): Promise<T> => {
    const settled: Promise<unknown> = result.then(
      () => underWay.delete(settled),
      () => underWay.delete(settled),
    );
    underWay.add(settled);
    return result;
  };
  const call = <T extends z.ZodType>(wanted: Call, answer: T): Promise<z.output<T>> =>
    tracked(callServer(server, wanted, answer));
  const repeatable = <T extends z.ZodType>(wanted: Call, answer: T): Promise<z.output<T>> =>
    tracked(untilAnswered(server, () => callServer(server, wanted, answer)));
  const control = (id: string, action: 'cancel' | 'pause' | 'resume'): Promise<Execution> =>
    repeatable({ method: 'POST', path: `${pathOf(id)}/${action}` }, Execution);
  return {
    url: server.name,
    execute: (request) => repeatable(creation(request), Execution),
    get: (id) => repeatable({ method: 'GET', path: pathOf(id) }, Execution),
    list: (query) => repeatable({ method: 'GET', path: 'v1/executions', query: { ...query } }, ExecutionPage),
    events: (id, wanted) => {
      const signals = [closing.signal, wanted.signal].filter((signal) => signal !== undefined);
      const connection = options.transport === 'websocket' ? websocketEvents : sseEvents;
      const open: OpenEvents = (after, signal) => connection(server, id, { after, signal });
      return followEvents(server, open, { ...wanted, signal: AbortSignal.any(signals) });
    },
    cancel: (id) => control(id, 'cancel'),
    pause: (id) => control(id, 'pause'),
    resume: (id) => control(id, 'resume'),
    input: (id, text) => call({ method: 'POST', path: `${pathOf(id)}/input`, body: { text } }, Execution),
    delete: (id) => call({ method: 'DELETE', path: pathOf(id) }, z.undefined()),
    audit: (after) => auditLines(server, after),
    auditEnds: () => repeatable({ method: 'GET', path: 'v1/audit', query: { limit: 1 } }, AuditPage),
    close: async ({ force }) => {
      closing.abort();
      const late = new AbortController();
      const calls = Promise.all(underWay).then(() => late.abort());
      await (force ? sleep(LAST_CALLS_MS, late.signal) : calls);
    },
  };
}

function pathOf(id: string): string {
  return `v1/executions/${encodeURIComponent(id)}`;
}

/** With a key, a lost answer is asked for again without a second run. */
function creation(body: ExecutionRequestInput): Call {
  const headers = body.idempotencyKey === undefined ? { 'idempotency-key': crypto.randomUUID() } : {};
  return { method: 'POST', path: 'v1/executions', body, headers };
}

/** Repeats a call whose answer was lost; where nobody was there from the first, that is the answer. */
async function untilAnswered<T>({ patience }: ServerAddress, attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + patience.requestMs;
  for (let tries = 0; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === 'not_running')) throw error;
      const hopeless = tries === 0 && wasRefused(error);
      if (hopeless || tries === MAX_RETRIES || performance.now() > deadline) throw error;
    }
    await sleep(FIRST_RETRY_MS * 2 ** tries, undefined);
  }
}
