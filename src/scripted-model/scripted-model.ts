import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { finishedBlock, newApiId, replyOf, usageJson } from './reply.ts';
import { sideAnswer } from './side-request.ts';
import type { StepInput } from './steps.ts';
import { Step, StepList } from './steps.ts';
import { streamReply } from './stream-reply.ts';

const MAX_BODY_BYTES = 64 * 1024 * 1024;
/** Requests kept in `requests`; older ones are forgotten. */
const MAX_RECORDED = 1000;

const MessagesBody = z.looseObject({
  model: z.string(),
  stream: z.boolean().default(false),
  messages: z.array(z.looseObject({ role: z.string(), content: z.unknown() })).min(1),
  tools: z.array(z.looseObject({})).optional(),
  system: z.unknown().optional(),
  max_tokens: z.number().optional(),
});
export type MessagesBody = z.infer<typeof MessagesBody>;

/** One request that reached the scripted model. `time` is milliseconds since the epoch. */
export interface RecordedRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: unknown;
  time: number;
}

/** A request that is about to eat a step; `n` counts from 0 over the whole life of the model. */
export interface ScriptedRequest {
  n: number;
  headers: IncomingHttpHeaders;
  body: MessagesBody;
}

/** The answers in order (the last one repeats), or a function that gives the answer to a request. */
export type Script = readonly StepInput[] | ((request: ScriptedRequest) => StepInput | Promise<StepInput>);

export interface ScriptedModel {
  /** The base URL, such as `http://127.0.0.1:41234`. */
  readonly url: string;
  /** The last 1000 requests, oldest first. */
  readonly requests: readonly RecordedRequest[];
  /** How many answers are being given at this moment. */
  readonly openAnswers: number;
  close(): Promise<void>;
}

/**
 * A Messages API on loopback that answers from a script instead of a model.
 * @param options.credential the only key or bearer token it accepts, or what says of one whether it does; any non-empty
 * one when absent
 */
export async function startScriptedModel(options: {
  script: Script;
  credential?: string | ((presented: string) => boolean) | undefined;
}): Promise<ScriptedModel> {
  const nextStep = stepper(options.script);
  const requests: RecordedRequest[] = [];
  const open = new Set<AbortController>();

  async function answer(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const body = await readJson(request);
    const path = request.url ?? '';
    requests.push({ method: request.method ?? '', path, headers: request.headers, body, time: Date.now() });
    requests.splice(0, requests.length - MAX_RECORDED);
    const pathname = path.split('?')[0];
    if (request.method !== 'POST' || (pathname !== '/v1/messages' && pathname !== '/v1/messages/count_tokens')) {
      return sendError(response, { status: 404, type: 'not_found_error', message: 'Not found' });
    }
    const refusal = credentialProblem(request.headers, options.credential);
    if (refusal !== undefined) {
      return sendError(response, { status: 401, type: 'authentication_error', message: refusal });
    }
    const parsed = MessagesBody.safeParse(body);
    if (!parsed.success) {
      return sendError(response, {
        status: 400,
        type: 'invalid_request_error',
        message: z.prettifyError(parsed.error),
      });
    }
    if (pathname === '/v1/messages/count_tokens') {
      return sendJson(response, 200, { input_tokens: Math.ceil(JSON.stringify(body).length / 4) });
    }
    const aside = sideAnswer(parsed.data);
    const step =
      aside === undefined
        ? await nextStep({ headers: request.headers, body: parsed.data })
        : Step.parse({ kind: 'text', text: aside });
    await play(response, step, { body: parsed.data, signal });
  }

  const server = createServer((request, response) => {
    const leaving = new AbortController();
    open.add(leaving);
    response.on('close', () => {
      open.delete(leaving);
      leaving.abort();
    });
    answer(request, response, leaving.signal).catch((error: unknown) => {
      if (leaving.signal.aborted) {
        return;
      }
      sendError(response, { status: 500, type: 'api_error', message: `The script failed: ${String(error)}` });
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = z.object({ port: z.int() }).parse(server.address());

  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    get openAnswers() {
      return open.size;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function stepper(script: Script): (request: Omit<ScriptedRequest, 'n'>) => Promise<Step> {
  let n = 0;
  if (typeof script === 'function') {
    return async (request) => {
      const own = n;
      n += 1;
      return Step.parse(await script({ n: own, ...request }));
    };
  }
  const steps = StepList.parse(script);
  const last = Step.parse(script.at(-1));
  return async () => {
    const step = steps[n] ?? last;
    n += 1;
    return step;
  };
}

async function play(
  response: ServerResponse,
  step: Step,
  { body, signal }: { body: MessagesBody; signal: AbortSignal },
): Promise<void> {
  await wait(step.beforeHeadersMs, undefined, { signal });
  if (step.kind === 'stall' && step.when === 'before_headers') {
    return;
  }
  if (step.kind === 'reset' && (step.when === 'before_headers' || !body.stream)) {
    response.socket?.resetAndDestroy();
    return;
  }
  response.setHeaders(new Map(Object.entries({ 'request-id': newApiId('req'), ...step.headers })));
  if (step.kind === 'http_error') {
    return sendError(response, step);
  }
  const model = step.model ?? body.model;
  const reply = replyOf(step);
  if (body.stream) {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
    return streamReply(response, reply, { step, model, signal });
  }
  if (reply.ending.kind === 'error') {
    return sendError(response, { status: 529, ...reply.ending });
  }
  if (reply.ending.kind !== 'complete') {
    response.flushHeaders();
    return;
  }
  sendJson(response, 200, {
    id: newApiId('msg'),
    type: 'message',
    role: 'assistant',
    model,
    content: reply.blocks.map(finishedBlock),
    stop_reason: reply.ending.stopReason,
    stop_sequence: null,
    usage: usageJson(step.usage),
  });
}

function credentialProblem(
  headers: IncomingHttpHeaders,
  expected: string | ((presented: string) => boolean) | undefined,
): string | undefined {
  const key = headers['x-api-key'] ?? '';
  const bearer = headers.authorization?.replace(/^Bearer /i, '') ?? '';
  const presented = [key, bearer].flat().filter((value) => value !== '');
  if (presented.length === 0) {
    return 'x-api-key header is required';
  }
  const accepts = typeof expected === 'function' ? expected : (value: string) => (expected ?? value) === value;
  return presented.every(accepts) ? undefined : 'invalid x-api-key';
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > MAX_BODY_BYTES) {
      throw new Error(`the request is longer than ${MAX_BODY_BYTES} bytes`);
    }
    chunks.push(bytes);
  }
  return size === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString());
}

function sendError(
  response: ServerResponse,
  error: { status: number; type: string; message: string; body?: string | undefined },
): void {
  const { status, type, message, body } = error;
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(body ?? JSON.stringify({ type: 'error', error: { type, message } }));
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}
