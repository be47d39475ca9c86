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
import { type Admission, estimateUsd, type SpendPort } from './spend-port.ts';
import { SseMeter } from './sse-meter.ts';
import type { Upstream, UpstreamAnswer } from './upstream.ts';
import type { Reading } from './usage-reading.ts';

/** Bodies up to this size are looked into for the model's name and `max_tokens`, which tell what a call may cost. */
const MAX_PARSED_REQUEST_BYTES = 4 * 1024 * 1024;
const Requested = z.looseObject({
  model: z.string().nullable().catch(null),
  max_tokens: z.number().nullable().catch(null),
});

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
  detail: string | null;
  end: ModelCall['end'];
  meter: Meter | undefined;
  requestedModel: string | null;
  admission: Admission & { kind: 'admitted' };
}

/** Nothing was held back for the call. */
const NOT_COUNTED: Progress['admission'] = { kind: 'admitted', settle: () => {} };

export interface ForwardDeps {
  upstream: Upstream;
  bodies: RequestBodies;
  spend: SpendPort | undefined;
}

/**
 * One call of a run, from its headers to its record: refused over the budget or a limit of the day, else passed on with
 * the credential that pays and streamed back as it comes. The upstream call ends when the client leaves; the client's connection
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
    ...{ status: null, requestId: null, firstByteAt: null, refusal: null, detail: null, end: 'complete' },
    ...{ meter: undefined, requestedModel: null, admission: NOT_COUNTED },
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
    const call = callOf({ account, path, progress, startedAt });
    progress.admission.settle(call.costUsd);
    account.settle(open, call);
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
    const requested = requestedOf(read.body);
    progress.requestedModel = requested.model;
    const refusal =
      path === '/v1/messages' ? await refusalBefore(deps, { account, progress, requested, signal }) : undefined;
    if (refusal !== undefined) {
      refuseCall(response, progress, refusal);
      return;
    }
    const { credential } = account.run;
    const target = request.url ?? path;
    const sent = { target, headers: request.headersDistinct, body: read.body, signal };
    const given = await deps.upstream.send(sent, credential);
    if (given.kind === 'no_credential') {
      credential.witness?.({ status: 401, headers: {} });
      refuseCall(response, progress, { kind: 'credential', message: given.message });
      return;
    }
    credential.witness?.(given);
    await passOn({ given, response, signal }, { path, progress });
  } finally {
    deps.bodies.release(read.body);
  }
}

interface Requested {
  model: string | null;
  maxTokens: number | null;
  bodyBytes: number;
}

/** Why a call is not made; what is held back for one that is made stands in `progress`. */
async function refusalBefore(
  { spend }: ForwardDeps,
  asked: { account: RunAccount; progress: Progress; requested: Requested; signal: AbortSignal },
): Promise<{ kind: 'budget' | 'spend' | 'spend_unknown'; message: string } | undefined> {
  const { account, progress, requested, signal } = asked;
  if (account.budgetSpent) return { kind: 'budget', message: budgetMessage(account) };
  const admission = await spend?.admit(account.run.payer, estimateUsd(requested), signal);
  if (admission === undefined) return undefined;
  if (admission.kind !== 'admitted') return admission;
  progress.admission = admission;
  return undefined;
}

function refuseCall(
  response: ServerResponse,
  progress: Progress,
  { kind, message }: { kind: NonNullable<ModelCall['refusal']>; message: string },
): void {
  progress.refusal = kind;
  progress.detail = message;
  progress.status = refuse(response, kind, message);
}

async function passOn(
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
  }
  if (given.status === 200 && path === '/v1/messages') {
    const streamed = String(given.headers['content-type'] ?? '').includes('text/event-stream');
    progress.meter = streamed ? new SseMeter() : new JsonMeter();
  }
  response.writeHead(given.status, headers);
  response.flushHeaders();
  for await (const chunk of given.body) {
    const bytes: Buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
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
    detail: progress.detail,
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

function requestedOf(body: Buffer): Requested {
  const small = body.length <= MAX_PARSED_REQUEST_BYTES;
  const read = small ? Requested.safeParse(parsedJson(body.toString())).data : undefined;
  return { model: read?.model ?? null, maxTokens: read?.max_tokens ?? null, bodyBytes: body.length };
}

function errorCode(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
