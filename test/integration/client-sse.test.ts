import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { expect, it, onTestFinished } from 'vitest';
import { connectServer, type ServerClient, type ServerOptions } from '../../src/client/server-client.ts';
import type { StoredEvent } from '../../src/protocol/events.ts';
import { waitUntil } from '../support/processes.ts';

const ID = '01890a5d-ac96-774b-bcce-b302099a8057';

function event(seq: number, type: StoredEvent['type'] = 'claude.stderr'): StoredEvent {
  return { seq, type, bytes: `{"executionId":"${ID}","seq":${seq}, "type":"${type}",  "data":{"text":"ü${seq}"}}` };
}

const LOG: readonly StoredEvent[] = [
  event(1, 'execution.queued'),
  event(2),
  event(3),
  event(4),
  event(5, 'execution.finished'),
];

const text = (events: readonly StoredEvent[]): string =>
  events.map(({ seq, type, bytes }) => `id: ${seq}\nevent: ${type}\ndata: ${bytes}\n\n`).join('');

const stream = (response: ServerResponse, body: string): ServerResponse => {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).write(`retry: 1000\n\n${body}`);
  return response;
};

type Connection = (response: ServerResponse, request: IncomingMessage) => void;

/** A server that answers its connections one after the other; the last way is for all that follow. */
async function scripted(
  connections: Connection[],
  options: Partial<ServerOptions> = {},
): Promise<{ client: ServerClient; asked: (string | undefined)[] }> {
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    connections[Math.min(asked.length, connections.length) - 1]?.(response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const client = connectServer({
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    key: undefined,
    ...options,
  });
  onTestFinished(async () => {
    await client.close({ force: true });
    server.closeAllConnections();
    server.close();
  });
  return { client, asked };
}

async function read(client: ServerClient, after = 0, lost: string[] = []): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  for await (const batch of client.events(ID, { after, onReconnect: (reason) => void lost.push(reason) })) {
    events.push(...batch);
  }
  return events;
}

const cursors = (asked: (string | undefined)[]): (string | null)[] =>
  asked.map((url) => new URL(url ?? '', 'http://x').searchParams.get('after'));

it('events come in order with their bytes as they are, and end after the last one of the log', async () => {
  const { client, asked } = await scripted([(response) => void stream(response, text(LOG))]);
  expect(await read(client)).toEqual(LOG);
  expect(asked).toEqual([`/v1/executions/${ID}/events?after=0`]);
});

it('it goes on after the last event when a connection ends early or breaks', async () => {
  const lost: string[] = [];
  const { client, asked } = await scripted([
    (response) => void stream(response, text(LOG.slice(0, 2))).end(),
    (response) => void stream(response, `${text(LOG.slice(2, 3))}id: 4\nevent: claude.std`).end(),
    (response) => void response.destroy(),
    (response) => void stream(response, text(LOG.slice(3))),
  ]);
  expect(await read(client, 0, lost)).toEqual(LOG);
  expect(cursors(asked)).toEqual(['0', '2', '3', '3']);
  expect(lost).toHaveLength(2);
  expect(lost[0]).toContain('ended early');
});

it('what was sent before is dropped, and what is missing is asked for again', async () => {
  const { client, asked } = await scripted([
    (response) => void stream(response, text([event(1, 'execution.queued'), event(1), event(2), event(4)])),
    (response) => void stream(response, text(LOG)),
  ]);
  expect(await read(client)).toEqual(LOG);
  expect(cursors(asked)).toEqual(['0', '0']);
});

it('messages without an id of their own are not of the log', async () => {
  const notice = 'event: server.draining\ndata: {"drainMs":1}\n\n';
  const { client } = await scripted([
    (response) => void stream(response, `${notice}${text(LOG.slice(0, 1))}${notice}:\n\n${text(LOG.slice(1))}`),
  ]);
  expect(await read(client)).toEqual(LOG);
});

it('204 means that nothing can follow', async () => {
  const { client } = await scripted([(response) => void response.writeHead(204).end()]);
  expect(await read(client, 5)).toEqual([]);
});

it.each([
  [429, 'too_many'],
  [503, 'shutting_down'],
])('%i is tried again', async (status, code) => {
  const { client, asked } = await scripted([
    (response) => void response.writeHead(status, { 'retry-after': '0' }).end(JSON.stringify({ code, detail: '' })),
    (response) => void stream(response, text(LOG)),
  ]);
  expect(await read(client)).toEqual(LOG);
  expect(asked).toHaveLength(2);
});

it.each(['not_found', 'cursor_in_future', 'truncated_before', 'unauthenticated'])(
  '%s is thrown at once, with its facts',
  async (code) => {
    const body = JSON.stringify({ code, detail: 'no', firstSeq: 3 });
    const { client, asked } = await scripted([(response) => void response.writeHead(400).end(body)]);
    await expect(read(client)).rejects.toMatchObject({ code, message: 'no', data: { firstSeq: 3 } });
    expect(asked).toHaveLength(1);
  },
);

it('a stream that is silent is made again', async () => {
  const lost: string[] = [];
  const { client } = await scripted(
    [(response) => void stream(response, text(LOG.slice(0, 2))), (response) => void stream(response, text(LOG))],
    { patience: { silentMs: 100 } },
  );
  expect(await read(client, 0, lost)).toEqual(LOG);
  expect(lost).toEqual([expect.stringContaining('silent for 0.1 s')]);
});

it('a stream that sends comments is not silent', async () => {
  const { client, asked } = await scripted(
    [
      (response) => {
        stream(response, text(LOG.slice(0, 2)));
        let comments = 0;
        const timer = setInterval(() => {
          comments += 1;
          if (comments < 12) response.write(':\n\n');
          else response.write(text(LOG.slice(2)));
          if (comments === 12) clearInterval(timer);
        }, 50);
        response.on('close', () => clearInterval(timer));
      },
    ],
    { patience: { silentMs: 400 } },
  );
  expect(await read(client)).toEqual(LOG);
  expect(asked).toHaveLength(1);
});

it('it gives up as not_running when nothing succeeds', async () => {
  const { client } = await scripted([(response) => void response.destroy()], { patience: { giveUpAfterMs: 300 } });
  await expect(read(client)).rejects.toMatchObject({
    code: 'not_running',
    message: expect.stringContaining('no events for 0.3 s'),
  });
});

it('connections that bring nothing are no success', async () => {
  const { client } = await scripted([(response) => void stream(response, text([event(2)]))], {
    patience: { giveUpAfterMs: 300 },
  });
  await expect(read(client)).rejects.toMatchObject({
    code: 'not_running',
    message: expect.stringContaining('event 1 is missing'),
  });
});

it('an event type that a later service added passes through as it stands', async () => {
  const added = 'id: 1\nevent: new.thing\ndata: {"seq":1}\n\n';
  const { client } = await scripted([(response) => void stream(response, added + text(LOG.slice(1)))]);
  expect((await read(client))[0]).toEqual({ seq: 1, type: 'new.thing', bytes: '{"seq":1}' });
});

it('a reader that leaves ends its connection', async () => {
  let closed = false;
  const { client } = await scripted([
    (response) => {
      stream(response, text(LOG.slice(0, 2)));
      response.on('close', () => {
        closed = true;
      });
    },
  ]);
  for await (const _ of client.events(ID, { after: 0 })) break;
  await waitUntil('the connection has ended', () => closed);
});

it.each([
  ['between connections', (response: ServerResponse) => void response.destroy()],
  ['on a silent connection', (response: ServerResponse) => void stream(response, '')],
])('aborting ends the events %s', async (_, connection) => {
  const leaving = new AbortController();
  const { client, asked } = await scripted([connection]);
  const events = (async () => {
    for await (const _ of client.events(ID, { after: 0, signal: leaving.signal }));
    return 'ended';
  })();
  await waitUntil('it has connected', () => asked.length > 0);
  leaving.abort();
  expect(await events).toBe('ended');
});

it('closing the client ends the events', async () => {
  const { client, asked } = await scripted([(response) => void stream(response, '')]);
  const events = read(client);
  await waitUntil('it has connected', () => asked.length > 0);
  await client.close({ force: false });
  expect(await events).toEqual([]);
});

it('an event of 20 MB comes whole', async () => {
  const long = { ...event(2), bytes: JSON.stringify({ text: 'x'.repeat(20_000_000) }) };
  const log = [event(1, 'execution.queued'), long, event(3, 'execution.finished')];
  const { client, asked } = await scripted([(response) => void stream(response, text(log))]);
  const [, middle, last] = await read(client);
  expect(middle?.bytes === long.bytes).toBe(true);
  expect(last?.seq).toBe(3);
  expect(asked).toHaveLength(1);
});
