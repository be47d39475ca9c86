// promise: P6 P7
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connectServer } from '../../src/client/server-client.ts';
import { type BuiltServer, builtServer } from '../support/built-server.ts';
import { cuttingProxy } from '../support/cutting-proxy.ts';
import { rpcClient } from '../support/rpc-client.ts';
import { eventsIn } from '../support/server.ts';

/** Some 400 events, one about every 35 ms. */
const LONG = [{ kind: 'deltas' as const, count: 400, text: 'wörd ', deltaEveryMs: 35 }];

/** The log as it is stored, one event a line, read in one piece when the run has ended. */
async function wholeLog({ stream, get }: BuiltServer, id: string): Promise<string[]> {
  await expect.poll(async () => (await get(id)).state, { timeout: 60_000, interval: 200 }).toBe('finished');
  return eventsIn(await stream(id)).map(([, , data]) => data);
}

const seqOf = (event: string | undefined): number => (event === undefined ? 0 : JSON.parse(event).seq);
const isLast = (event: string | undefined): boolean => event?.includes('"type":"execution.finished"') ?? false;

/** Follows a log with a reader that is cut off after every event. */
async function followCut(next: (after: number) => Promise<string | undefined>): Promise<string[]> {
  const events: string[] = [];
  while (!isLast(events.at(-1))) {
    const event = await next(seqOf(events.at(-1)));
    if (event !== undefined) events.push(event);
  }
  return events;
}

function oneOverSse({ url, key }: BuiltServer, id: string): (after: number) => Promise<string | undefined> {
  return async (after) => {
    const headers = { accept: 'text/event-stream', authorization: `Bearer ${key}`, 'last-event-id': String(after) };
    const sent = request(`${url}/v1/executions/${id}/events`, { headers });
    sent.end();
    const [response]: IncomingMessage[] = await once(sent, 'response');
    let text = '';
    for await (const chunk of response?.setEncoding('utf8') ?? []) {
      text += chunk;
      const [first] = eventsIn(text);
      if (first !== undefined) {
        sent.destroy();
        return first[2];
      }
    }
    return undefined;
  };
}

function oneOverWebSocket({ url, key }: BuiltServer, executionId: string) {
  return async (after: number): Promise<string | undefined> => {
    const client = await rpcClient(url, { key });
    await client.call('subscribe', { executionId, after });
    await client.frame(({ method }) => method === 'event');
    client.socket.terminate();
    return client.events(executionId)[0];
  };
}

function oneOverPolling({ call }: BuiltServer, id: string): (after: number) => Promise<string | undefined> {
  return async (after) => {
    const response = await call(`/v1/executions/${id}/events?after=${after}&limit=1&waitMs=5000`);
    return /^\{"events":\[(.*)\],"nextAfter"/s.exec(await response.text())?.[1] || undefined;
  };
}

describe('a reader that is cut off after every single event of a run that goes on', () => {
  test('has the stored log byte for byte, over every transport', async () => {
    const server = await builtServer({ script: LONG });
    const { id } = await server.submit({ prompt: 'x' });
    const [sse, socket, polling] = await Promise.all(
      [oneOverSse, oneOverWebSocket, oneOverPolling].map((one) => followCut(one(server, id))),
    );
    const log = await wholeLog(server, id);
    expect(log.length).toBeGreaterThan(300);
    expect(sse).toEqual(log);
    expect(socket).toEqual(log);
    expect(polling).toEqual(log);
  });

  test.each([
    ['sse', /\ndata: .*\n\n/],
    ['websocket', /"method":"event"/],
  ] as const)('has it through the client library over %s, which connects again by itself', async (transport, cut) => {
    const server = await builtServer({ script: LONG });
    const proxy = await cuttingProxy(server.url, (text) => cut.test(text));
    const client = connectServer({ url: proxy.url, key: server.key, transport });
    const { id } = await server.submit({ prompt: 'x' });
    const events: string[] = [];
    for await (const batch of client.events(id, { after: 0 })) events.push(...batch.map(({ bytes }) => bytes));
    await client.close({ force: false });
    expect(events).toEqual(await wholeLog(server, id));
    expect(proxy.cuts()).toBeGreaterThan(20);
  });
});

describe('many readers', () => {
  test('of 200 on one run, 20 of which never read, every reading one has the log byte for byte', async () => {
    const server = await builtServer({ script: [{ kind: 'deltas', count: 60, text: 'word ', deltaEveryMs: 35 }] });
    const { id } = await server.submit({ prompt: 'x' });
    for (let index = 0; index < 20; index += 1) neverRead(server, id);
    const overSse = Array.from({ length: 90 }, () => server.stream(id));
    const overSocket = Array.from({ length: 90 }, async () => {
      const client = await rpcClient(server.url, { key: server.key });
      await client.call('subscribe', { executionId: id });
      await client.frame(({ method }) => method === 'subscription.closed');
      return client.events(id);
    });
    const streams = await Promise.all(overSse);
    const sockets = await Promise.all(overSocket);
    const log = await wholeLog(server, id);
    for (const stream of streams) expect(eventsIn(stream).map(([, , data]) => data)).toEqual(log);
    for (const events of sockets) expect(events).toEqual(log);
  });

  test('one that never reads a long log is closed, while another one reads it to its end', async () => {
    const server = await builtServer({ script: [{ kind: 'huge_text', bytes: 24 * 1024 * 1024 }] });
    const { id } = await server.submit({ prompt: 'x' });
    const slow = await rpcClient(server.url, { key: server.key });
    await slow.call('subscribe', { executionId: id });
    slow.socket.pause();
    const log = await wholeLog(server, id);
    expect(log.join('').length).toBeGreaterThan(24 * 1024 * 1024);
    // Not reading for longer than the service bears is what this reader does; there is nothing to wait for.
    await delay(8_000);
    slow.socket.resume();
    const closed = await slow.closed;
    const seqs = slow.events(id).map(seqOf);
    expect(seqs).toEqual(seqs.map((_, index) => index + 1));
    expect(closed.code).toBe(4429);
    expect(seqs.length).toBeLessThan(log.length);
  });
});

/** Asks for the event stream and never takes a byte of it. */
function neverRead({ url, key }: BuiltServer, id: string): void {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  socket.pause();
  socket.write(
    `GET /v1/executions/${id}/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\naccept: text/event-stream\r\n\r\n`,
  );
}
