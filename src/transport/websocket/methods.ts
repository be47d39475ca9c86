import type { z } from 'zod';
import type { Executions } from '../../executions/executions.ts';
import type { Caller } from '../../executions/new-execution.ts';
import { ServiceError } from '../../protocol/errors.ts';
import { newId } from '../../protocol/ids.ts';
import { parseInput } from '../../protocol/parse-input.ts';
import { type MethodName, RPC_METHODS, type RpcMethod } from '../../protocol/rpc-methods.ts';
import type { Access } from '../../protocol/scopes.ts';
import type { BoundRuns } from './bound-runs.ts';
import type { Call, Method, Params } from './json-rpc.ts';
import type { Subscriptions } from './subscriptions.ts';

/** What the methods act on. */
export interface Session {
  executions: Pick<
    Executions,
    'start' | 'get' | 'list' | 'events' | 'assertCursor' | 'cancel' | 'pause' | 'resume' | 'addInput'
  >;
  openRpc: object;
  subscriptions: Subscriptions;
  boundRuns: BoundRuns;
  /** @throws ServiceError `unauthenticated` */
  caller(): Caller;
  /** @throws ServiceError `unauthenticated`, `forbidden` */
  authorise(access: Access): void;
  /** @throws ServiceError `unauthenticated`, `conflict` */
  authenticate(key: string): Promise<void>;
  /** Does something once the frame with the answer is queued. */
  afterAnswer(effect: () => void): void;
}

type Named = Record<string, unknown>;
const METHOD_NAMES = Object.keys(RPC_METHODS) as MethodName[];
/** One entry for each method of the contract, with the result that the contract gives it. */
type Implementations = {
  [M in MethodName]: (params: Named, call: Call) => Promise<z.output<(typeof RPC_METHODS)[M]['result']>>;
};

/** The methods of a connection, as the JSON-RPC layer calls them. */
export function connectionMethods(session: Session): Record<string, Method> {
  const { executions } = session;
  const implementations: Implementations = {
    authenticate: async (params) => {
      await session.authenticate(parseInput(RPC_METHODS.authenticate.params, params).key);
      return { authenticated: true };
    },
    execute: (params, call) => execute(session, params, call),
    subscribe: (params, call) => subscribe(session, params, call),
    unsubscribe: async (params) => {
      const { executionId } = parseInput(RPC_METHODS.unsubscribe.params, params);
      const lastSeq = session.subscriptions.remove(executionId);
      if (lastSeq !== undefined) return { executionId, lastSeq };
      throw new ServiceError('not_found', `This connection has no subscription to execution ${executionId}`);
    },
    control: (params) => {
      const { executionId, action } = parseInput(RPC_METHODS.control.params, params);
      return executions[action](executionId, session.caller());
    },
    input: (params) => {
      const { executionId, text } = parseInput(RPC_METHODS.input.params, params);
      return executions.addInput(executionId, text, session.caller());
    },
    'executions.get': (params) => {
      const { executionId } = parseInput(RPC_METHODS['executions.get'].params, params);
      return executions.get(executionId, session.caller());
    },
    'executions.list': (params) => {
      const query = parseInput(RPC_METHODS['executions.list'].params, params);
      return executions.list(query, session.caller());
    },
    'rpc.discover': async (params) => {
      parseInput(RPC_METHODS['rpc.discover'].params, params);
      return { ...session.openRpc };
    },
    ping: async (params) => {
      parseInput(RPC_METHODS.ping.params, params);
      return { time: new Date().toISOString() };
    },
  };
  const bound = METHOD_NAMES.map((name): [string, Method] => [
    name,
    async (params, call) => {
      const method: RpcMethod = RPC_METHODS[name];
      if (method.access !== 'open') session.authorise(method.access);
      return implementations[name](namedParams(method.params, params), call);
    },
  ]);
  return Object.fromEntries(bound);
}

async function execute(
  session: Session,
  params: Named,
  { notification }: Call,
): ReturnType<Implementations['execute']> {
  const { executions, subscriptions, boundRuns } = session;
  const caller = session.caller();
  const start = async (): ReturnType<Implementations['execute']> => {
    if (params.cancelOnDisconnect === true) await boundRuns.assertRoom();
    const before = newId();
    const execution = await executions.start(params, caller);
    // Ids sort by age: an older one is that of an earlier call with the same idempotency key.
    if (params.cancelOnDisconnect === true && execution.id > before) boundRuns.bind(execution.id, caller);
    return execution;
  };
  // Without an answer the client would not know which execution the events are of.
  if (notification) return start();
  return subscriptions.withRoom(async () => {
    const execution = await start();
    if (!subscriptions.has(execution.id)) {
      session.afterAnswer(subscriptions.add(execution.id, { after: 0, caller }));
    }
    return execution;
  });
}

async function subscribe(
  session: Session,
  params: Named,
  { notification }: Call,
): ReturnType<Implementations['subscribe']> {
  const { executions, subscriptions } = session;
  const { executionId, after } = parseInput(RPC_METHODS.subscribe.params, params);
  const caller = session.caller();
  if (notification) return { executionId, after };
  refuseSecond(subscriptions, executionId);
  return subscriptions.withRoom(async () => {
    await executions.assertCursor(executionId, after, caller);
    refuseSecond(subscriptions, executionId);
    session.afterAnswer(subscriptions.add(executionId, { after, caller }));
    return { executionId, after };
  });
}

function refuseSecond(subscriptions: Subscriptions, executionId: string): void {
  if (!subscriptions.has(executionId)) return;
  throw new ServiceError('conflict', `This connection is subscribed to execution ${executionId} already`);
}

/** Parameters by position stand in the order of the schema's fields. */
function namedParams(schema: z.ZodObject, params: Params | undefined): Named {
  if (!Array.isArray(params)) return params ?? {};
  const fields = Object.keys(schema.shape);
  if (params.length > fields.length) {
    const message = `is one too many; the method takes ${fields.length}`;
    const data = { errors: [{ path: String(fields.length), message }] };
    throw new ServiceError('invalid_request', `parameter ${fields.length + 1} ${message}`, { data });
  }
  return Object.fromEntries(params.map((value, index) => [fields[index] ?? index, value]));
}
