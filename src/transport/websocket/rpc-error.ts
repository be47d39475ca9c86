import { ERRORS, type ErrorCode, type ErrorData, ServiceError } from '../../protocol/errors.ts';

/** The `error` of an answer, its members in the order they are written. */
export interface RpcError {
  code: number;
  message: string;
  data?: { code: ErrorCode; retryable: boolean } & ErrorData;
}

/** Codes and messages of JSON-RPC 2.0, section 5.1. */
export const PARSE_ERROR: RpcError = { code: -32700, message: 'Parse error' };
export const INVALID_REQUEST: RpcError = { code: -32600, message: 'Invalid Request' };
export const METHOD_NOT_FOUND: RpcError = { code: -32601, message: 'Method not found' };
const INTERNAL_ERROR: RpcError = {
  code: ERRORS.internal.rpc,
  message: 'Internal error',
  data: { code: 'internal', retryable: ERRORS.internal.retryable },
};

/** What a caller is told of an error that a method threw; nothing of one that is no ServiceError. */
export function toRpcError(error: unknown): RpcError {
  if (!(error instanceof ServiceError)) return INTERNAL_ERROR;
  const { rpc, retryable } = ERRORS[error.code];
  return { code: rpc, message: error.message, data: { code: error.code, retryable, ...error.data } };
}
