import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

/** Why a run is not let through; what it is told says what to do, and nothing about the network. */
export interface ProxyRefusal {
  status: 400 | 403 | 407 | 429 | 502;
  text: string;
}

const LINGER_MS = 1_000;

export const NO_CREDENTIAL: ProxyRefusal = {
  status: 407,
  text: 'This proxy serves runs alone; use the address in HTTPS_PROXY as it stands, with its user and password.',
};

export const TOO_MANY: ProxyRefusal = {
  status: 429,
  text: 'This run has too many connections open; close some first.',
};

export function malformed(what: string): ProxyRefusal {
  return { status: 400, text: `${what}. The proxy takes CONNECT host:port, and GET http://host/path.` };
}

export function notListed(target: string): ProxyRefusal {
  return {
    status: 403,
    text: `This run may not reach ${target}. Name it in "egress" of the request, or have the operator name it in CC_EGRESS.`,
  };
}

export function notPublic(target: string): ProxyRefusal {
  return {
    status: 403,
    text: `${target} is in no public network. The operator opens such addresses with CC_EGRESS_PRIVATE.`,
  };
}

export function unreachable(target: string): ProxyRefusal {
  return { status: 502, text: `${target} was not found, or does not answer.` };
}

/** The answer to CONNECT, on the bare socket, which is closed behind it. */
export function refuseTunnel(socket: Duplex, { status, text }: ProxyRefusal): void {
  const lines = Object.entries(headersOf(status, text)).map(([name, value]) => `${name}: ${value}\r\n`);
  // What the client still sends is thrown away, so that its end does not cost it the answer.
  socket.resume();
  const lingering = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once('close', () => clearTimeout(lingering));
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${text}\n`);
}

export function refuseRequest(response: ServerResponse, { status, text }: ProxyRefusal): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, headersOf(status, text)).end(`${text}\n`);
}

function headersOf(status: number, text: string): Record<string, string> {
  return {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': String(Buffer.byteLength(text) + 1),
    connection: 'close',
    ...(status === 407 ? { 'proxy-authenticate': 'Basic realm="cc-executor run"' } : {}),
  };
}
