import { expect, it, onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { connectServer, type ServerClient, type ServerOptions } from '../../src/client/server-client.ts';
import type { StoredEvent } from '../../src/protocol/events.ts';
import { waitUntil } from '../support/processes.ts';

const ID = '01890a5d-ac96-774b-bcce-b302099a8057';

function event(seq: number, type: StoredEvent['type'] = 'claude.stderr'): StoredEvent {
  return { seq, type, bytes: `{"executionId":"${ID}","seq":${seq}, "type":"${type}",  "data":{"text":"ü}${seq}"}}` };
}

const LOG: readonly StoredEvent[] = [event(1, 'execution.queued'), event(2), event(3), event(4, 'execution.finished')];

interface Call {
  id: unknown;
  method: string;
  params: Record<string, unknown>;
}

/** What a server does with a call on its nth connection. */
type Behaviour = (socket: WebSocket, call: Call, connection: number) => void;

const answer = (socket: WebSocket, { id }: Call, result: unknown = {}): void =>
  socket.send(JSON.stringify({ jsonrpc: '2.0', id, result }));
const refuse = (socket: WebSocket, { id }: Call, code: string, more: Record<string, unknown> = {}): void =>
  socket.send(
    JSON.stringify({
      jsonrpc: '2.0',
      id,
      error: { code: 1000, message: 'no', data: { code, retryable: false, ...more } },
    }),
  );
const send = (socket: WebSocket, events: readonly StoredEvent[]): void => {
  for (const { bytes } of events) socket.send(`{"jsonrpc":"2.0","method":"event","params":${bytes}}`);
};
const closed = (socket: WebSocket, reason: string): void =>
  socket.send(
    JSON.stringify({
      jsonrpc: '2.0',
      method: 'subscription.closed',
      params: { executionId: ID, reason, lastSeq: 0 },
    }),
  );

async function scripted(
  behaviour: Behaviour,
  options: Partial<ServerOptions> = {},
): Promise<{ client: ServerClient; calls: string[] }> {
  const calls: string[] = [];
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/v1/ws' });
  await new Promise<void>((resolve) => server.on('listening', resolve));
  let connections = 0;
  server.on('connection', (socket) => {
    connections += 1;
    const connection = connections;
    socket.on('message', (data) => {
      const call: Call = JSON.parse(String(data));
      if (call.method !== 'ping') calls.push(`${connection} ${call.method} ${JSON.stringify(call.params)}`);
      behaviour(socket, call, connection);
    });
  });
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const client = connectServer({ url: `http://127.0.0.1:${port}`, key: undefined, transport: 'websocket', ...options });
  onTestFinished(async () => {
    await client.close({ force: true });
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return { client, calls };
}

async function read(client: ServerClient, after = 0, lost: string[] = []): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  for await (const batch of client.events(ID, { after, onReconnect: (reason) => void lost.push(reason) })) {
    events.push(...batch);
  }
  return events;
}

const subscribed = (connection: number, after: number): string =>
  `${connection} subscribe {"executionId":"${ID}","after":${after}}`;

it('it presents the key, subscribes, and gives the bytes of events as they are', async () => {
  const { client, calls } = await scripted(
    (socket, call) => {
      answer(socket, call);
      if (call.method === 'subscribe') send(socket, LOG);
    },
    { key: 'secret' },
  );
  expect(await read(client)).toEqual(LOG);
  expect(calls).toEqual(['1 authenticate {"key":"secret"}', subscribed(1, 0)]);
});

it.each([1001, 4429])('a connection that is closed with %i is made again from the cursor', async (code) => {
  const lost: string[] = [];
  const { client, calls } = await scripted((socket, call, connection) => {
    answer(socket, call);
    send(socket, connection === 1 ? LOG.slice(0, 2) : LOG.slice(2));
    if (connection === 1) socket.close(code, 'later');
  });
  expect(await read(client, 0, lost)).toEqual(LOG);
  expect(calls).toEqual([subscribed(1, 0), subscribed(2, 2)]);
  expect(lost).toEqual([expect.stringContaining(`closed with ${code}: later`)]);
});

it('a subscription that ends before the log does is made again', async () => {
  const { client, calls } = await scripted((socket, call, connection) => {
    answer(socket, call);
    if (connection === 1) closed(socket, 'too_slow');
    else send(socket, LOG);
  });
  expect(await read(client)).toEqual(LOG);
  expect(calls).toHaveLength(2);
});

it('a subscription that has nothing to send ends the events', async () => {
  const { client } = await scripted((socket, call) => {
    answer(socket, call);
    closed(socket, 'finished');
  });
  expect(await read(client, 4)).toEqual([]);
});

it('what was deleted meanwhile is not found', async () => {
  const { client } = await scripted((socket, call) => {
    answer(socket, call);
    closed(socket, 'deleted');
  });
  await expect(read(client)).rejects.toMatchObject({ code: 'not_found' });
});

it.each(['not_found', 'cursor_in_future', 'truncated_before'])('%s is thrown at once, with its facts', async (code) => {
  const { client, calls } = await scripted((socket, call) => refuse(socket, call, code, { firstSeq: 3 }));
  await expect(read(client)).rejects.toMatchObject({ code, message: 'no', data: { firstSeq: 3 } });
  expect(calls).toHaveLength(1);
});

it('a wrong key is thrown at once, whether it is answered or the connection closed', async () => {
  const first = await scripted((socket, call) => refuse(socket, call, 'unauthenticated'), { key: 'wrong' });
  await expect(read(first.client)).rejects.toMatchObject({ code: 'unauthenticated' });
  const second = await scripted((socket) => socket.close(4401), { key: 'wrong' });
  await expect(read(second.client)).rejects.toMatchObject({ code: 'unauthenticated' });
  expect([...first.calls, ...second.calls]).toHaveLength(2);
});

it('a silent connection is made again, and one that answers pings is not', async () => {
  let pings = 0;
  const { client, calls } = await scripted(
    (socket, call, connection) => {
      if (call.method === 'ping' && connection === 1) return;
      if (call.method === 'ping') pings += 1;
      answer(socket, call);
      if (pings === 5) send(socket, LOG.slice(0));
    },
    { patience: { silentMs: 300 } },
  );
  expect(await read(client)).toEqual(LOG);
  expect(calls).toEqual([subscribed(1, 0), subscribed(2, 0)]);
});

it('what is no JSON is told', async () => {
  const { client } = await scripted((socket) => socket.send('hello'));
  await expect(read(client)).rejects.toMatchObject({ code: 'internal' });
});

it('an event of 20 MB comes whole', async () => {
  const bytes = `{"executionId":"${ID}","seq":2,"type":"claude.stderr","data":{"text":"${'x'.repeat(20_000_000)}"}}`;
  const log: StoredEvent[] = [event(1), { seq: 2, type: 'claude.stderr', bytes }, event(3, 'execution.finished')];
  const { client } = await scripted((socket, call) => {
    answer(socket, call);
    if (call.method === 'subscribe') send(socket, log.slice(Number(call.params.after)));
  });
  const events = await read(client);
  expect(events.map(({ seq }) => seq)).toEqual([1, 2, 3]);
  expect(events[1]?.bytes === bytes).toBe(true);
});

it('a reader that falls behind by more than is kept gets everything, over further connections', async () => {
  const pad = 'x'.repeat(1_000_000);
  const log = Array.from({ length: 100 }, (_, index): StoredEvent => {
    const type = index === 99 ? 'execution.finished' : 'claude.stderr';
    const bytes = `{"executionId":"${ID}","seq":${index + 1},"type":"${type}","data":{"text":"${pad}"}}`;
    return { seq: index + 1, type, bytes };
  });
  let left = 0;
  const { client } = await scripted((socket, call) => {
    answer(socket, call);
    if (call.method !== 'subscribe') return;
    socket.on('close', () => {
      left += 1;
    });
    send(socket, log.slice(Number(call.params.after)));
  });
  const seqs: number[] = [];
  for await (const batch of client.events(ID, { after: 0 })) {
    if (seqs.length === 0 && batch.length > 0) await waitUntil('the client has had enough', () => left > 0);
    seqs.push(...batch.map(({ seq }) => seq));
  }
  expect(seqs).toEqual(log.map(({ seq }) => seq));
});

it('a reader that leaves ends its connection', async () => {
  let ended = false;
  const { client } = await scripted((socket, call) => {
    socket.on('close', () => {
      ended = true;
    });
    answer(socket, call);
    send(socket, LOG.slice(0, 2));
  });
  for await (const _ of client.events(ID, { after: 0 })) break;
  await waitUntil('the connection has ended', () => ended);
});

it('aborting before the connection stands ends the events', async () => {
  const { client, calls } = await scripted(() => {});
  const leaving = new AbortController();
  const events = client.events(ID, { after: 0, signal: leaving.signal })[Symbol.asyncIterator]();
  const first = events.next();
  leaving.abort();
  expect(await first).toEqual({ done: true, value: undefined });
  expect(calls).toEqual([]);
});
