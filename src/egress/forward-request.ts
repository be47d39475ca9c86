import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { Target } from './proxy-target.ts';

/** Headers that mean the connection they came on (RFC 9110, section 7.6.1), and those for the proxy. */
const HOP_BY_HOP = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['proxy-authorization', 'proxy-authenticate', 'proxy-authentication-info'],
]);

/** Sends a plain request over a connection made for it, and its answer back. Rejects when either side breaks. */
export async function forwardRequest(
  { request, response }: { request: IncomingMessage; response: ServerResponse },
  { target, socket }: { target: Target & { path: string }; socket: Socket },
): Promise<void> {
  const answered = Promise.withResolvers<IncomingMessage>();
  const outgoing = httpRequest({
    method: request.method,
    path: target.path,
    headers: [...endToEnd(request, ['host']), 'host', hostHeader(target), 'connection', 'close', ...framing(request)],
    createConnection: () => socket,
    setHost: false,
  });
  outgoing.once('response', answered.resolve);
  outgoing.once('error', answered.reject);
  const sent = pipeline(request, outgoing);
  // A server may answer before it has read the body, and close.
  sent.catch(answered.reject);
  const answer = await answered.promise;
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage, endToEnd(answer, []));
  await pipeline(answer, response);
}

/** Names and values as they came, one after the other, without those of this hop. */
function endToEnd({ rawHeaders, headers }: IncomingMessage, besides: readonly string[]): string[] {
  const named = (headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  const dropped = new Set([...HOP_BY_HOP, ...named, ...besides]);
  return rawHeaders.filter((_, index) => !dropped.has((rawHeaders[index - (index % 2)] ?? '').toLowerCase()));
}

/** A body whose length is not known is sent in chunks, as it came. */
function framing({ headers }: IncomingMessage): string[] {
  return headers['transfer-encoding'] === undefined ? [] : ['transfer-encoding', 'chunked'];
}

function hostHeader({ shown, port }: Target): string {
  return port === 80 ? shown.slice(0, -':80'.length) : shown;
}
