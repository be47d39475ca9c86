import { lapseSignal } from '../../auth/watch-standing.ts';
import type { Execution } from '../../protocol/execution.ts';
import { InputBody } from '../../protocol/http-schemas.ts';
import { parseInput } from '../../protocol/parse-input.ts';
import type { Door } from '../door.ts';
import type { Call } from './call.ts';
import { sendEventStream } from './event-stream.ts';
import type { Routes } from './routes.ts';
import { answered, callerOf, invalid, openEventStream, principalOf, wantsEventStream } from './routes.ts';

type ExecutionRoutes = Pick<
  Routes,
  | 'execute'
  | 'createExecution'
  | 'listExecutions'
  | 'getExecution'
  | 'deleteExecution'
  | 'readOutput'
  | 'pauseExecution'
  | 'resumeExecution'
  | 'cancelExecution'
  | 'addInput'
>;

/** Executions over HTTP: each route asks the core, and answers with what it says. */
export function executionRoutes(door: Door): ExecutionRoutes {
  const { executions } = door;
  return {
    execute: (call) => execute(door, call),
    createExecution: async (call) => {
      if (isBound(call.body)) {
        throw invalid(
          'cancelOnDisconnect',
          'has no connection to be bound to here; use POST /v1/execute or the WebSocket',
        );
      }
      const execution = await executions.start(withKey(call), callerOf(call));
      call.reply.code(202).header('location', `/v1/executions/${execution.id}`);
      return execution;
    },
    listExecutions: ({ query, ...call }) => executions.list(query, callerOf(call)),
    getExecution: async ({ params, reply, ...call }) => {
      const json = await executions.getJson(params.executionId, callerOf(call));
      reply.type('application/json; charset=utf-8');
      return json;
    },
    deleteExecution: async ({ params, ...call }) => {
      await executions.delete(params.executionId, callerOf(call));
      call.reply.code(204);
    },
    readOutput: async ({ params, ...call }) => {
      const { partialText } = await executions.get(params.executionId, callerOf(call));
      call.reply.type('text/plain; charset=utf-8');
      return partialText;
    },
    pauseExecution: ({ params, ...call }) => executions.pause(params.executionId, callerOf(call)),
    resumeExecution: ({ params, ...call }) => executions.resume(params.executionId, callerOf(call)),
    cancelExecution: ({ params, ...call }) => executions.cancel(params.executionId, callerOf(call)),
    addInput: async ({ params, body, ...call }) => {
      const { text } = parseInput(InputBody, body);
      return executions.addInput(params.executionId, text, callerOf(call));
    },
  };
}

async function execute(door: Door, call: Call<'execute'>): Promise<Execution | undefined> {
  const { executions, draining, drainMs, closing } = door;
  const caller = callerOf(call);
  const { id } = await executions.start(withKey(call), caller);
  if (isBound(call.body)) cancelWhenGone(door, call, id);
  call.reply.header('location', `/v1/executions/${id}`);
  if (wantsEventStream(call.request)) {
    const lapsed = lapseSignal(principalOf(call), answered(call.reply));
    const signal = AbortSignal.any([call.gone, closing, lapsed]);
    const response = openEventStream(call.reply);
    await sendEventStream(response, executions.events(id, { after: 0, signal }, caller), { signal, draining, drainMs });
    return undefined;
  }
  const late = AbortSignal.timeout(call.query.waitMs);
  const execution = await executions.ended(id, AbortSignal.any([call.gone, closing, late]), caller);
  call.reply.code(execution.state === 'finished' ? 200 : 202);
  return execution;
}

/** A connection that the service itself closes was not left by its client. */
function cancelWhenGone({ executions, closing, logger }: Door, call: Call<'execute'>, id: string): void {
  const caller = callerOf(call);
  call.gone.addEventListener('abort', () => {
    if (closing.aborted) return;
    executions.cancel(id, caller).catch((error: unknown) => {
      logger.warn({ err: error, executionId: id }, 'an execution whose client has gone could not be cancelled');
    });
  });
}

function isBound(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'cancelOnDisconnect' in body && body.cancelOnDisconnect === true;
}

/** The request with the key of its header. */
function withKey({ body, idempotencyKey }: Pick<Call<'execute'>, 'body' | 'idempotencyKey'>): unknown {
  if (idempotencyKey === undefined || typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  if ('idempotencyKey' in body && body.idempotencyKey !== idempotencyKey) {
    throw invalid('idempotencyKey', 'is another one than that of the Idempotency-Key header');
  }
  return { ...body, idempotencyKey };
}
