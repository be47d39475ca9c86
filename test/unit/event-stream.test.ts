import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { ServiceError } from '../../src/protocol/errors.ts';
import type { StoredEvent } from '../../src/protocol/events.ts';
import { sendEventStream } from '../../src/transport/http/event-stream.ts';

/** What a client gets of a stream whose events end with `error`, and what its sender is told. */
async function streamEndingWith(error: Error): Promise<{ text: string; told: unknown }> {
  async function* events(): AsyncGenerator<readonly StoredEvent[]> {
    yield [{ seq: 1, type: 'execution.queued', bytes: '{"seq":1}' }];
    throw error;
  }
  let told: unknown;
  const idle = new AbortController().signal;
  const server = createServer((_, response) => {
    sendEventStream(response, events(), { signal: idle, draining: idle, drainMs: 0 }).catch((thrown: unknown) => {
      told = thrown;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  const response = await fetch(`http://127.0.0.1:${address.port}`);
  return { text: await response.text(), told };
}

test('a store that goes away in the middle ends the stream behind its last event, and is no failure of the door', async () => {
  const { text, told } = await streamEndingWith(new ServiceError('storage_unavailable', 'away'));
  expect(text).toBe('retry: 1000\n\nid: 1\nevent: execution.queued\ndata: {"seq":1}\n\n');
  expect(told).toBeUndefined();
});

test('anything else that is thrown in the middle is passed on', async () => {
  const defect = new Error('a defect');
  expect((await streamEndingWith(defect)).told).toBe(defect);
});
