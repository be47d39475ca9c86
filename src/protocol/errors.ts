/**
 * The one error table. `http` is the status of a problem document; `rpc` the JSON-RPC code, from 1000 up except where
 * JSON-RPC itself has one for it; `retryable` says whether the same request may succeed later.
 */
export const ERRORS = {
  invalid_request: { http: 400, rpc: -32602, retryable: false, title: 'The request is not valid' },
  cursor_in_future: { http: 400, rpc: 1001, retryable: false, title: 'The cursor is ahead of the log' },
  not_found: { http: 404, rpc: 1002, retryable: false, title: 'There is no such thing here' },
  conflict: { http: 409, rpc: 1003, retryable: false, title: 'The state does not allow this' },
  idempotency_conflict: {
    http: 409,
    rpc: 1004,
    retryable: false,
    title: 'The idempotency key belongs to another request',
  },
  truncated_before: {
    http: 410,
    rpc: 1005,
    retryable: false,
    title: 'The log no longer holds what is before the cursor',
  },
  payload_too_large: { http: 413, rpc: 1006, retryable: false, title: 'The request is too large' },
  queue_full: { http: 503, rpc: 1007, retryable: true, title: 'The queue is full' },
  shutting_down: { http: 503, rpc: 1008, retryable: true, title: 'The service is shutting down' },
  storage_unavailable: { http: 503, rpc: 1009, retryable: true, title: 'The storage does not take writes' },
  storage_newer: { http: 503, rpc: 1010, retryable: false, title: 'The store was written by a newer version' },
  data_folder_unusable: { http: 503, rpc: 1011, retryable: false, title: 'The data folder cannot be used' },
  credential_unusable: { http: 503, rpc: 1012, retryable: false, title: 'The Claude credential cannot be used' },
  not_implemented: { http: 501, rpc: 1013, retryable: false, title: 'This capability is not built yet' },
  stale_writer: { http: 409, rpc: 1014, retryable: false, title: 'Another writer has taken over this execution' },
  internal: { http: 500, rpc: -32603, retryable: false, title: 'The service failed' },
  unauthenticated: { http: 401, rpc: 1016, retryable: false, title: 'A valid key is needed' },
  origin_refused: { http: 403, rpc: 1017, retryable: false, title: 'Pages of this origin may not call the service' },
  method_not_allowed: { http: 405, rpc: 1018, retryable: false, title: 'This path does not take this method' },
  request_timeout: { http: 408, rpc: 1019, retryable: false, title: 'The request did not arrive in time' },
  unsupported_media_type: { http: 415, rpc: 1020, retryable: false, title: 'The body is not of a kind taken here' },
  too_many: { http: 429, rpc: 1021, retryable: true, title: 'There are too many of these at once' },
  quota_exceeded: { http: 429, rpc: 1030, retryable: true, title: 'A daily limit is used up' },
  not_running: { http: 503, rpc: 1022, retryable: true, title: 'The service does not answer' },
  forbidden: { http: 403, rpc: 1024, retryable: false, title: 'The key may not do this' },
  address_unusable: { http: 503, rpc: 1023, retryable: false, title: 'The service cannot listen at that address' },
  model_api_unreachable: { http: 503, rpc: 1040, retryable: true, title: 'The model API does not answer' },
  isolation_unavailable: { http: 403, rpc: 1041, retryable: false, title: 'The isolation level is not to be had here' },
} as const satisfies Record<string, { http: number; rpc: number; retryable: boolean; title: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** One thing wrong with a request: where (a path such as `mcpServers.a.command`) and what. */
export interface Issue {
  path: string;
  message: string;
}

/** What a refusal may carry beside its text: the wrong fields, or facts a client acts on (`firstSeq`, `state`). */
export interface ErrorData {
  errors?: Issue[];
  retryAfterMs?: number;
  firstSeq?: number;
  lastSeq?: number;
  state?: string;
  scope?: string;
}

/**
 * The only error class that crosses a module border on purpose. Anything else that is thrown is a defect and is
 * reported as `internal`. The message says what happened, why, and what to do; it never holds a secret.
 */
export class ServiceError extends Error {
  readonly code: ErrorCode;
  readonly data: ErrorData;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; data?: ErrorData } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ServiceError';
    this.code = code;
    this.data = options.data ?? {};
  }
}
