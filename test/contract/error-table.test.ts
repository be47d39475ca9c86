import { expect, test } from 'vitest';
import { ERRORS } from '../../src/protocol/errors.ts';

const entries = Object.entries(ERRORS);

test('the numbers of the error table are what clients were told', () => {
  const numbers = Object.fromEntries(entries.map(([code, { http, rpc }]) => [code, [http, rpc]]));
  expect(numbers).toEqual({
    invalid_request: [400, -32602],
    cursor_in_future: [400, 1001],
    not_found: [404, 1002],
    conflict: [409, 1003],
    idempotency_conflict: [409, 1004],
    truncated_before: [410, 1005],
    payload_too_large: [413, 1006],
    queue_full: [503, 1007],
    shutting_down: [503, 1008],
    storage_unavailable: [503, 1009],
    storage_newer: [503, 1010],
    data_folder_unusable: [503, 1011],
    credential_unusable: [503, 1012],
    not_implemented: [501, 1013],
    stale_writer: [409, 1014],
    internal: [500, -32603],
    unauthenticated: [401, 1016],
    origin_refused: [403, 1017],
    method_not_allowed: [405, 1018],
    request_timeout: [408, 1019],
    unsupported_media_type: [415, 1020],
    too_many: [429, 1021],
    quota_exceeded: [429, 1030],
    not_running: [503, 1022],
    address_unusable: [503, 1023],
    forbidden: [403, 1024],
    model_api_unreachable: [503, 1040],
    isolation_unavailable: [403, 1041],
  });
});

test('no two errors share a JSON-RPC code; those in the range it reserves are its own, in its own meaning', () => {
  const codes = entries.map(([, { rpc }]) => rpc);
  expect(new Set(codes).size).toBe(codes.length);
  const reserved = entries.filter(([, { rpc }]) => rpc < 1000).map(([code]) => code);
  expect(reserved).toEqual(['invalid_request', 'internal']);
});

test.each(entries)(
  '%s has an HTTP status of an error, and is retryable only where waiting helps',
  (_code, { http, retryable }) => {
    expect(http).toBeGreaterThanOrEqual(400);
    expect(http).toBeLessThan(600);
    if (retryable) expect([429, 503]).toContain(http);
  },
);
