import { z } from 'zod';
import { ServiceError } from '../../protocol/errors.ts';
import { parseJson } from '../../protocol/json.ts';
import { INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, type RpcError, toRpcError } from './rpc-error.ts';

/** The most members of a batch. */
export const MAX_BATCH = 100;
/** A batch answers no further member once its answer is this long, in UTF-16 units. */
const MAX_BATCH_ANSWER = 32 * 1024 * 1024;

/** By name, or by position. */
export type Params = Record<string, unknown> | unknown[];

export interface Call {
  /** Whether it came without an id: nothing of it is answered, not even an error. */
  notification: boolean;
}

export type Method = (params: Params | undefined, call: Call) => Promise<unknown>;

export interface JsonRpcDeps {
  methods: Readonly<Record<string, Method>>;
  /** Told of every error that is no ServiceError; the caller learns only that there was one. */
  onDefect(error: unknown): void;
}

const Request = z.object({
  jsonrpc: z.literal('2.0'),
  method: z.string(),
  params: z.union([z.record(z.string(), z.unknown()), z.array(z.unknown())]).optional(),
  id: z.union([z.string(), z.number(), z.null()]).optional(),
});
type Request = z.infer<typeof Request>;
type Id = NonNullable<Request['id']> | null;

/**
 * Answers a frame as JSON-RPC 2.0 prescribes (https://www.jsonrpc.org/specification); undefined where it prescribes
 * silence. The calls of a batch run one after the other. Never rejects.
 */
export async function answerFrame(deps: JsonRpcDeps, text: string): Promise<string | undefined> {
  const frame = parseFrame(text);
  if ('refusal' in frame) return failure(frame.refusal, null);
  if (!Array.isArray(frame.value)) return answerOne(deps, frame.value);
  if (frame.value.length === 0) return failure(INVALID_REQUEST, null);
  if (frame.value.length > MAX_BATCH) {
    return failure(invalidRequest('', `a batch has at most ${MAX_BATCH} members`), null);
  }
  return answerBatch(deps, frame.value);
}

function parseFrame(text: string): { value: unknown } | { refusal: RpcError } {
  try {
    return { value: parseJson(text) };
  } catch (error) {
    if (error instanceof SyntaxError) return { refusal: PARSE_ERROR };
    if (error instanceof ServiceError) return { refusal: invalidRequest('', error.message) };
    throw error;
  }
}

async function answerBatch(deps: JsonRpcDeps, members: unknown[]): Promise<string | undefined> {
  const answers: string[] = [];
  let length = 0;
  for (const member of members) {
    const answer = length < MAX_BATCH_ANSWER ? await answerOne(deps, member) : answerTooMuch(member);
    if (answer === undefined) continue;
    answers.push(answer);
    length += answer.length;
  }
  return answers.length === 0 ? undefined : `[${answers.join(',')}]`;
}

async function answerOne(deps: JsonRpcDeps, member: unknown): Promise<string | undefined> {
  const { success, data: request } = Request.safeParse(member);
  if (!success) return failure(INVALID_REQUEST, null);
  const { id } = request;
  if (id === undefined) {
    await callMethod(deps, request);
    return undefined;
  }
  if (!survivesParsing(id)) {
    return failure(invalidRequest('id', 'is a number that cannot be given back exactly; use a string'), null);
  }
  const answer = await callMethod(deps, request);
  return 'error' in answer
    ? failure(answer.error, id)
    : `{"jsonrpc":"2.0","result":${answer.result},"id":${quote(id)}}`;
}

/** The result as JSON, so that one that cannot be written is an error like any other. */
async function callMethod(deps: JsonRpcDeps, request: Request): Promise<{ result: string } | { error: RpcError }> {
  const { method: name, params, id } = request;
  const method = Object.hasOwn(deps.methods, name) ? deps.methods[name] : undefined;
  if (method === undefined) return { error: METHOD_NOT_FOUND };
  try {
    const result = await method(params, { notification: id === undefined });
    return { result: JSON.stringify(result ?? null) };
  } catch (error) {
    if (!(error instanceof ServiceError)) deps.onDefect(error);
    return { error: toRpcError(error) };
  }
}

function answerTooMuch(member: unknown): string | undefined {
  const id = Request.safeParse(member).data?.id;
  if (id === undefined) return undefined;
  const message = 'Not called: the answer of this batch is too long already; send the rest of it as another';
  return failure(toRpcError(new ServiceError('too_many', message, { data: { retryAfterMs: 0 } })), id);
}

/** JSON numbers are unbounded, doubles are not: from 2^53 on, neighbours are parsed as the same number. */
function survivesParsing(id: Id): boolean {
  return typeof id !== 'number' || !Number.isInteger(id) || Number.isSafeInteger(id);
}

function invalidRequest(path: string, message: string): RpcError {
  return { ...INVALID_REQUEST, data: { code: 'invalid_request', retryable: false, errors: [{ path, message }] } };
}

function failure(error: RpcError, id: Id): string {
  return `{"jsonrpc":"2.0","error":${JSON.stringify(error)},"id":${quote(id)}}`;
}

function quote(id: Id): string {
  return JSON.stringify(id);
}
