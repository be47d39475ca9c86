import { expect, test } from 'vitest';
import { downstreamHeaders, presentedToken, upstreamHeaders } from '../../src/model-gateway/gateway-headers.ts';

test('a token is taken from either header', () => {
  expect(presentedToken({ 'x-api-key': ['ccr_a'] })).toBe('ccr_a');
  expect(presentedToken({ authorization: ['Bearer ccr_a'] })).toBe('ccr_a');
  expect(presentedToken({ authorization: ['bearer  ccr_a'], 'x-api-key': ['ccr_a'] })).toBe('ccr_a');
});

test('two tokens that differ are no token', () => {
  expect(presentedToken({ 'x-api-key': ['ccr_a', 'ccr_b'] })).toBeUndefined();
  expect(presentedToken({ 'x-api-key': ['ccr_a'], authorization: ['Bearer ccr_b'] })).toBeUndefined();
  expect(presentedToken({})).toBeUndefined();
});

test('credentials, hop-by-hop headers and those that Connection names do not go up', () => {
  const headers = upstreamHeaders(
    {
      ...{ 'x-api-key': ['ccr_a'], authorization: ['Bearer ccr_a'], cookie: ['a=b'], host: ['gateway.invalid'] },
      ...{ connection: ['keep-alive, X-Secret'], 'x-secret': ['1'], 'transfer-encoding': ['chunked'] },
      ...{ 'accept-encoding': ['gzip'], 'content-length': ['3'], 'proxy-authorization': ['x'], te: ['trailers'] },
      ...{ 'anthropic-version': ['2023-06-01'], 'x-twice': ['a', 'b'] },
    },
    { kind: 'api_key', secret: 'sk-real' },
  );
  expect(headers).toEqual({ 'anthropic-version': '2023-06-01', 'x-twice': ['a', 'b'], 'x-api-key': 'sk-real' });
});

test('a Max token goes up as a bearer with the OAuth beta, once', () => {
  const credential = { kind: 'max', secret: 'sk-max' } as const;
  expect(upstreamHeaders({ 'anthropic-beta': ['a, b'] }, credential)).toEqual({
    authorization: 'Bearer sk-max',
    'anthropic-beta': 'a,b,oauth-2025-04-20',
  });
  expect(upstreamHeaders({ 'anthropic-beta': ['oauth-2025-04-20,a'] }, credential)['anthropic-beta']).toBe(
    'oauth-2025-04-20,a',
  );
  expect(upstreamHeaders({}, credential)['anthropic-beta']).toBe('oauth-2025-04-20');
});

test('an answer comes down without its connection headers and cookies', () => {
  expect(
    downstreamHeaders({
      'request-id': 'r',
      'set-cookie': ['a'],
      connection: 'keep-alive',
      'transfer-encoding': 'chunked',
    }),
  ).toEqual({ 'request-id': 'r' });
});
