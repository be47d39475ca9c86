import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { parsedJson } from '../protocol/json.ts';
import { downstreamHeaders } from './gateway-headers.ts';
import { JsonMeter } from './json-meter.ts';
import type { ModelCall, ModelPath } from './model-call.ts';
import { NO_USAGE } from './prices.ts';
import { refuse } from './refusal.ts';
import type { RequestBodies } from './request-body.ts';
import type { RunAccount } from './run-account.ts';
import { readingCost } from './run-account.ts';
import { SseMeter } from './sse-meter.ts';
import type { Upstream, UpstreamAnswer } from './upstream.ts';
import type { Reading } from './usage-reading.ts';

/** Bodies up to this size are looked into for the model's name, which only failed calls need from there. */
const MAX_PARSED_REQUEST_BYTES = 4 * 1024 * 1024;
const RequestedModel = z.looseObject({ model: z.string() });

const NOTHING_READ: Reading = { model: null, usage: NO_USAGE, stopReason: null, estimated: false };

interface Meter {
  feed(chunk: Buffer): void;
  read(): Reading;
  end?(): void;
}

interface Progress {
  status: number | null;
  requestId: string | null;
  firstByteAt: number | null;
  refusal: ModelCall['refusal'];
  end: ModelCall['end'];
  meter: Meter | undefined;
  requestedModel: string | null;
}

export interface ForwardDeps {
  upstream: Upstream;
  bodies: RequestBodies;
  /** The upstream refused the credential, or it could not be had. */
  onCredentialRefused(status: number): void;
}

/**
 * One call of a run, from its headers to its record: refused over the budget, else passed on with the operator's
 * credential and streamed back as it comes. The upstream call ends when the client leaves; the client's connection
 * breaks when the upstream's does.
 */
export async function forwardCall(
  deps: ForwardDeps,
  { request, response }: { request: IncomingMessage; response: ServerResponse },
  { account, path }: { account: RunAccount; path: ModelPath },
): Promise<void> {
  const startedAt = Date.now();
  const leaving = new AbortController();
  const progress: Progress = {
    ...{ status: null, requestId: null, firstByteAt: null, refusal: null, end: 'complete' },
    ...{ meter: undefined, requestedModel: null },
  };
  const open = {
    reading: () => readingOf(progress),
    abort: () => {
      leaving.abort();
      response.destroy();
    },
  };
  response.once('close', () => leaving.abort());
  account.open(open);
  try {
    await answer(deps, { request, response, signal: leaving.signal }, { account, path, progress });
  } catch (error) {
    failed(response, { progress, error, clientLeft: leaving.signal.aborted });
  } finally {
    account.settle(open, callOf({ account, path, progress, startedAt }));
  }
}

async function answer(
  deps: ForwardDeps,
  { request, response, signal }: { request: IncomingMessage; response: ServerResponse; signal: AbortSignal },
  { account, path, progress }: { account: RunAccount; path: ModelPath; progress: Progress },
): Promise<void> {
  const read = await deps.bodies.read(request);
  if ('problem' in read) {
    progress.status = refuse(response, read.problem);
    return;
  }
  try {
    progress.requestedModel = requestedModel(read.body);
    if (path === '/v1/messages' && account.budgetSpent) {
      progress.refusal = 'budget';
      progress.status = refuse(response, 'budget', budgetMessage(account));
      return;
    }
    const target = request.url ?? path;
    const given = await deps.upstream.send({ target, headers: request.headersDistinct, body: read.body, signal });
    if (given.kind === 'no_credential') {
      progress.refusal = 'credential';
      progress.status = refuse(response, 'credential', given.message);
      deps.onCredentialRefused(progress.status);
      return;
    }
    await passOn(deps, { given, response, signal }, { path, progress });
  } finally {
    deps.bodies.release(read.body);
  }
}

async function passOn(
  deps: ForwardDeps,
  exchange: { given: UpstreamAnswer & { kind: 'answer' }; response: ServerResponse; signal: AbortSignal },
  { path, progress }: { path: ModelPath; progress: Progress },
): Promise<void> {
  const { given, response, signal } = exchange;
  const headers = downstreamHeaders(given.headers);
  progress.status = given.status;
  progress.requestId = typeof given.headers['request-id'] === 'string' ? given.headers['request-id'] : null;
  if (given.status === 401 || given.status === 403) {
    // The CLI would try an API key again for three minutes (measured with 2.1.330).
    headers['x-should-retry'] = 'false';
    progress.refusal = 'credential';
    deps.onCredentialRefused(given.status);
  }
  if (given.status === 200 && path === '/v1/messages') {
    const streamed = String(given.headers['content-type'] ?? '').includes('text/event-stream');
    progress.meter = streamed ? new SseMeter() : new JsonMeter();
  }
  response.writeHead(given.status, headers);
  response.flushHeaders();
  for await (const chunk of given.body) {
    const bytes = Buffer.from(chunk);
    progress.firstByteAt ??= Date.now();
    progress.meter?.feed(bytes);
    if (!response.write(bytes)) {
      await once(response, 'drain', { signal });
    }
  }
  progress.meter?.end?.();
  response.end();
}

/** An upstream that fails before its headers is a 502 or 504; behind them the client must see a broken connection. */
function failed(
  response: ServerResponse,
  { progress, error, clientLeft }: { progress: Progress; error: unknown; clientLeft: boolean },
): void {
  progress.end = clientLeft ? 'client_closed' : 'upstream_failed';
  if (clientLeft || response.headersSent) {
    response.destroy();
    return;
  }
  const code = errorCode(error);
  progress.status = refuse(
    response,
    code === 'UND_ERR_HEADERS_TIMEOUT' ? 'upstream_slow' : 'upstream_down',
    `The model API could not be reached: ${code}`,
  );
}

function callOf(done: { account: RunAccount; path: ModelPath; progress: Progress; startedAt: number }): ModelCall {
  const { progress, startedAt } = done;
  const reading = readingOf(progress);
  return {
    executionId: done.account.run.executionId,
    path: done.path,
    requestId: progress.requestId,
    status: progress.status,
    model: reading.model,
    usage: reading.usage,
    costUsd: readingCost(reading),
    estimated: reading.estimated,
    stopReason: reading.stopReason,
    refusal: progress.refusal,
    end: progress.end,
    startedAt: new Date(startedAt).toISOString(),
    firstByteMs: progress.firstByteAt === null ? null : progress.firstByteAt - startedAt,
    durationMs: Date.now() - startedAt,
  };
}

function readingOf(progress: Progress): Reading {
  const reading = progress.meter?.read() ?? NOTHING_READ;
  return { ...reading, model: reading.model ?? progress.requestedModel };
}

function budgetMessage(account: RunAccount): string {
  const spent = account.spentUsd.toFixed(4);
  return `The budget of this execution (${account.run.maxBudgetUsd} USD) is spent: ${spent} USD so far.`;
}

function requestedModel(body: Buffer): string | null {
  if (body.length > MAX_PARSED_REQUEST_BYTES) {
    return null;
  }
  return RequestedModel.safeParse(parsedJson(body.toString())).data?.model ?? null;
}

function errorCode(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
