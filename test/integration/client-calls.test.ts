import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { expect, it, onTestFinished } from 'vitest';
import { connectServer, type ServerClient, type ServerOptions } from '../../src/client/server-client.ts';
import type { ServiceError } from '../../src/protocol/errors.ts';
import type { Execution } from '../../src/protocol/execution.ts';

const ID = '01890a5d-ac96-774b-bcce-b302099a8057';
const EXECUTION: Execution = {
  id: ID,
  state: 'queued',
  outcome: null,
  result: null,
  partialText: '',
  sessionId: null,
  workspace: 'fresh',
  model: 'sonnet',
  cli: null,
  attempt: 1,
  timeLimit: { ms: 1000, source: 'default' },
  lastSeq: 1,
  receiptId: null,
  cancelRequestedAt: null,
  denials: [],
  isolation: 'L1',
  egress: 'open',
  queuePosition: null,
  createdAt: '2026-01-01T00:00:00.000Z',
  startedAt: null,
  finishedAt: null,
  metadata: {},
};

interface Seen {
  line: string;
  headers: IncomingMessage['headers'];
  body: string;
}

type Answer = (response: ServerResponse, tries: number) => void;

/** A server that answers every request in one way, and a client of it. */
async function scripted(
  answer: Answer,
  options: Partial<ServerOptions> & { path?: string } = {},
): Promise<{ client: ServerClient; seen: Seen[]; url: string; shut(): Promise<void> }> {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    seen.push({ line: `${request.method} ${request.url}`, headers: request.headers, body });
    answer(response, seen.length);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const shut = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  onTestFinished(shut);
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const client = connectServer({ key: 'secret', ...options, url: `${url}${options.path ?? ''}` });
  onTestFinished(() => client.close({ force: true }));
  return { client, seen, url, shut };
}

const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (response) =>
    void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));

async function refused(result: Promise<unknown>): Promise<Pick<ServiceError, 'code' | 'message' | 'data'>> {
  return result.then(
    () => {
      throw new Error('it was not refused');
    },
    (error) => error,
  );
}

it('every call is one request to its route, with the key', async () => {
  const { client, seen } = await scripted(json(200, EXECUTION), { path: '/behind/' });
  await client.get(ID);
  await client.cancel(ID);
  await client.pause(ID);
  await client.resume(ID);
  await client.input(ID, 'more');
  const at = `/behind/v1/executions/${ID}`;
  expect(seen.map(({ line }) => line)).toEqual([
    `GET ${at}`,
    `POST ${at}/cancel`,
    `POST ${at}/pause`,
    `POST ${at}/resume`,
    `POST ${at}/input`,
  ]);
  expect(seen.map(({ headers }) => headers.authorization)).toEqual(Array(5).fill('Bearer secret'));
  expect(seen.at(-1)?.body).toBe('{"text":"more"}');
});

it('list passes its filters on, and delete takes an empty answer', async () => {
  const { client, seen } = await scripted((response, tries) =>
    tries === 1
      ? json(200, { executions: [EXECUTION], nextCursor: ID })(response, tries)
      : void response.writeHead(204).end(),
  );
  expect(await client.list({ state: 'queued', limit: 2 })).toEqual({ executions: [EXECUTION], nextCursor: ID });
  await client.delete(ID);
  expect(seen.map(({ line }) => line)).toEqual([
    'GET /v1/executions?state=queued&limit=2',
    `DELETE /v1/executions/${ID}`,
  ]);
});

it('a lost answer to execute is asked for again with the same idempotency key', async () => {
  const { client, seen } = await scripted((response, tries) => {
    if (tries < 3) response.destroy();
    else json(202, EXECUTION)(response, tries);
  });
  expect((await client.execute({ prompt: 'hi' })).id).toBe(ID);
  expect(seen).toHaveLength(3);
  const keys = new Set(seen.map(({ headers }) => headers['idempotency-key']));
  expect([...keys]).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/)]);
});

it('two calls of execute have different idempotency keys, and a key of the caller stays alone', async () => {
  const { client, seen } = await scripted(json(202, EXECUTION));
  await client.execute({ prompt: 'hi' });
  await client.execute({ prompt: 'hi' });
  await client.execute({ prompt: 'hi', idempotencyKey: 'mine' });
  const [first, second, third] = seen.map(({ headers }) => headers['idempotency-key']);
  expect(first).not.toBe(second);
  expect(third).toBeUndefined();
  expect(seen[2]?.body).toContain('"idempotencyKey":"mine"');
});

it('a lost answer to input is not asked for again, because it may have been heard', async () => {
  const { client, seen } = await scripted((response) => response.destroy());
  expect(await refused(client.input(ID, 'more'))).toMatchObject({ code: 'not_running' });
  expect(seen).toHaveLength(1);
});

it('a problem document is the error it was made from', async () => {
  const errors = [{ path: 'model', message: 'is wrong' }];
  const { client } = await scripted(
    json(409, { code: 'conflict', detail: 'it has finished', state: 'finished', errors }),
  );
  expect(await refused(client.pause(ID))).toMatchObject({
    code: 'conflict',
    message: 'it has finished',
    data: { state: 'finished', errors },
  });
});

it('Retry-After counts where the document does not say how long to wait', async () => {
  const { client } = await scripted(json(503, { code: 'queue_full', detail: 'full' }, { 'retry-after': '7' }));
  expect(await refused(client.execute({ prompt: 'hi' }))).toMatchObject({
    code: 'queue_full',
    data: { retryAfterMs: 7000 },
  });
});

it('a code that is unknown here is internal, and named', async () => {
  const { client } = await scripted(json(418, { code: 'teapot', detail: 'short and stout' }));
  expect(await refused(client.get(ID))).toMatchObject({ code: 'internal', message: 'short and stout (teapot)' });
});

it.each([
  [401, 'unauthenticated'],
  [404, 'internal'],
  [502, 'not_running'],
])('%i of something that is not the service is %s', async (status, code) => {
  const { client } = await scripted((response) => void response.writeHead(status).end('<html>'));
  expect(await refused(client.input(ID, 'x'))).toMatchObject({ code });
});

it('an answer that is no execution is internal', async () => {
  const { client } = await scripted(json(200, { hello: 'world' }));
  expect(await refused(client.get(ID))).toMatchObject({ code: 'internal' });
});

it('nobody there is not_running, with the URL and what to do', async () => {
  const { client, url, shut } = await scripted(json(200, EXECUTION));
  await shut();
  const { code, message } = await refused(client.execute({ prompt: 'hi' }));
  expect(code).toBe('not_running');
  expect(message).toContain(`${url} does not answer: connect ECONNREFUSED`);
  expect(message).toContain('cc-executor serve');
});

it('a server that never answers is not_running after the time limit', async () => {
  const { client, seen } = await scripted(() => {}, { patience: { requestMs: 50 } });
  expect(await refused(client.input(ID, 'x'))).toMatchObject({
    code: 'not_running',
    message: expect.stringContaining('no answer within 0.05 s'),
  });
  expect(seen).toHaveLength(1);
});

it('an answer longer than 64 MiB is not read to its end', async () => {
  const { client } = await scripted((response) => {
    const more = (): void => {
      while (response.write('x'.repeat(1024 * 1024)));
    };
    response.on('drain', more);
    more();
  });
  expect(await refused(client.get(ID))).toMatchObject({
    code: 'internal',
    message: expect.stringContaining('more than 67108864 bytes'),
  });
});

it('what is no URL, and what is no key, is refused at once', () => {
  expect(() => connectServer({ url: 'localhost:8000', key: undefined })).toThrow(/no URL of a service/);
  expect(() => connectServer({ url: 'http://a:b@localhost', key: undefined })).toThrow(/holds a password/);
  expect(() => connectServer({ url: 'http://localhost', key: 'a\nb' })).toThrow(/copied whole/);
});

it('a forced close lets a cancel that is under way arrive', async () => {
  const { client, seen } = await scripted((response, tries) => {
    setImmediate(() => json(200, EXECUTION)(response, tries));
  });
  const cancelled = client.cancel(ID);
  await client.close({ force: true });
  expect(seen.map(({ line }) => line)).toEqual([`POST /v1/executions/${ID}/cancel`]);
  expect((await cancelled).id).toBe(ID);
});
