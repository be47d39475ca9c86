import type { z } from 'zod';
import { componentSchemas, type JsonSchema, refTo, schemaOf } from './component-schemas.ts';
import { FIELD_TEXTS } from './contract-texts.ts';
import { ERRORS, type ErrorCode } from './errors.ts';
import { ExecutionRequest } from './execution-request.ts';
import { OPENRPC_TEXT, PARAMETER_TEXTS } from './route-texts.ts';
import {
  ANY_METHOD,
  CLOSE_CODES,
  type MethodName,
  RPC_METHODS,
  RPC_NOTIFICATIONS,
  type RpcMethod,
} from './rpc-methods.ts';
import { isScope, type Scope } from './scopes.ts';

export interface Descriptor {
  name: string;
  required: boolean;
  description?: string;
  schema: JsonSchema;
}

export interface OpenRpcMethod {
  name: MethodName;
  summary: string;
  paramStructure: 'either';
  /** The scope that it needs; none where any key will do. */
  'x-scope'?: Scope;
  params: Descriptor[];
  result: { name: string; schema: JsonSchema };
  errors: { $ref: string }[];
}

export interface OpenRpc {
  openrpc: string;
  info: { title: string; version: string; license: { name: string }; description: string };
  servers: { name: string; url: string }[];
  methods: OpenRpcMethod[];
  components: { schemas: Record<string, JsonSchema>; errors: Record<string, object> };
  /** The schema of every `error.data`; an error object of OpenRPC takes no extension of its own. */
  'x-error-data': { $ref: string };
  'x-notifications': { name: string; summary: string; params: JsonSchema }[];
  'x-close-codes': { name: string; code: number; text: string }[];
}

/** Errors of JSON-RPC 2.0 itself (section 5.1); -32602 and -32603 stand in the error table. */
const OWN_ERRORS = {
  parse_error: { code: -32700, message: 'Parse error' },
  invalid_frame: { code: -32600, message: 'Invalid Request' },
  method_not_found: { code: -32601, message: 'Method not found' },
} as const;

/** The WebSocket interface as an OpenRPC document (https://spec.open-rpc.org). */
export function openRpc(version: string): OpenRpc {
  return {
    openrpc: '1.3.2',
    info: { title: 'CC Executor', version, license: { name: 'MIT' }, description: OPENRPC_TEXT },
    servers: [{ name: 'WebSocket', url: '/v1/ws' }],
    methods: (Object.keys(RPC_METHODS) as MethodName[]).map(method),
    components: { schemas: { ...componentSchemas(), ErrorData: errorData() }, errors: errors() },
    'x-error-data': refTo('ErrorData'),
    'x-notifications': Object.entries(RPC_NOTIFICATIONS).map(([name, { summary, params }]) => ({
      name,
      summary,
      params: schemaOf(params, 'output'),
    })),
    'x-close-codes': Object.entries(CLOSE_CODES).map(([name, close]) => ({ name, ...close })),
  };
}

function method(name: MethodName): OpenRpcMethod {
  const { summary, access, params, result, errors: own }: RpcMethod = RPC_METHODS[name];
  const forbidden = isScope(access) ? ['forbidden'] : [];
  return {
    name,
    summary,
    paramStructure: 'either',
    ...(isScope(access) ? { 'x-scope': access } : {}),
    params: descriptors(params),
    result: { name: 'result', schema: schemaOf(result, 'output') },
    errors: [...new Set([...Object.keys(OWN_ERRORS), ...ANY_METHOD, ...forbidden, ...own])].map((code) => ({
      $ref: `#/components/errors/${code}`,
    })),
  };
}

/** Parameters by position stand in this order. */
function descriptors(params: z.ZodObject): Descriptor[] {
  const named = params === ExecutionRequest;
  const { properties = {}, required = [] } = named
    ? (componentSchemas().ExecutionRequest ?? {})
    : schemaOf(params, 'input');
  const texts: Readonly<Record<string, string>> = named ? FIELD_TEXTS : PARAMETER_TEXTS;
  return Object.entries(properties).map(([name, type]) => {
    const { description = texts[name], ...schema } = typeof type === 'boolean' ? {} : type;
    const described = description === undefined ? {} : { description };
    return { name, required: required.includes(name), ...described, schema };
  });
}

function errors(): Record<string, object> {
  const ours = (Object.keys(ERRORS) as ErrorCode[]).map((code) => {
    const { rpc, title, retryable } = ERRORS[code];
    return [code, { code: rpc, message: title, data: { code, retryable } }];
  });
  return { ...OWN_ERRORS, ...Object.fromEntries(ours) };
}

/** What `error.data` holds: what a problem document holds over HTTP, as far as HTTP itself does not say it. */
function errorData(): JsonSchema {
  const { properties: ofProblem = {} } = componentSchemas().Problem ?? {};
  const { type: _type, title: _title, status: _status, detail: _detail, requestId: _requestId, ...shared } = ofProblem;
  const properties: JsonSchema['properties'] = {
    retryable: { type: 'boolean', description: 'Whether the same call may succeed later.' },
    ...shared,
  };
  return { type: 'object', description: 'What programs act on.', properties, required: ['code', 'retryable'] };
}
