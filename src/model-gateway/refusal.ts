import type { ServerResponse } from 'node:http';

/** Every answer the gateway gives by itself, in the shape of the API's own errors. */
const REFUSALS = {
  not_found: { status: 404, type: 'not_found_error', message: 'Not found', retry: false },
  unknown_token: {
    status: 401,
    type: 'authentication_error',
    message: 'This run token is not known, or its run is over.',
    retry: false,
  },
  credential: {
    status: 401,
    type: 'authentication_error',
    message: 'The Claude credential cannot be used.',
    retry: false,
  },
  // 402 ends the CLI after one request; 400, 404, 422 and 429 do not say what is wrong, or are sent again (2.1.330).
  budget: { status: 402, type: 'billing_error', message: 'The budget is spent.', retry: false },
  spend: { status: 402, type: 'billing_error', message: 'The limit of the day is reached.', retry: false },
  spend_unknown: { status: 402, type: 'billing_error', message: 'The spend is not known.', retry: false },
  too_large: { status: 413, type: 'request_too_large', message: 'The request is too large.', retry: false },
  too_many: { status: 529, type: 'overloaded_error', message: 'Too many calls at the same time.', retry: true },
  upstream_down: { status: 502, type: 'api_error', message: 'The model API could not be reached.', retry: true },
  upstream_slow: { status: 504, type: 'timeout_error', message: 'The model API did not answer.', retry: true },
} as const;

/** Answers a call that is not passed on, and returns the status. `x-should-retry: false` keeps the CLI from trying again. */
export function refuse(response: ServerResponse, refusal: keyof typeof REFUSALS, message?: string): number {
  const { status, type, retry, ...row } = REFUSALS[refusal];
  const body = JSON.stringify({ type: 'error', error: { type, message: message ?? row.message } });
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...(retry ? {} : { 'x-should-retry': 'false' }),
  });
  response.end(body);
  return status;
}
