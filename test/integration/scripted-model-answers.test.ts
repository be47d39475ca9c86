import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import type { Script, ScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { startScriptedModel } from '../../src/scripted-model/scripted-model.ts';

const open: ScriptedModel[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((model) => model.close()));
});

async function start(script: Script, credential?: string): Promise<ScriptedModel> {
  const model = await startScriptedModel(credential === undefined ? { script } : { script, credential });
  open.push(model);
  return model;
}

function ask(
  model: ScriptedModel,
  body: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${model.url}/v1/messages?beta=true`, {
    method: 'POST',
    headers: { 'x-api-key': 'k', ...headers },
    body: JSON.stringify({ model: 'claude-x', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }], ...body }),
  });
}

const Frame = z.looseObject({ type: z.string() });

async function frames(response: Response): Promise<z.infer<typeof Frame>[]> {
  const text = await response.text();
  return text
    .split('\n\n')
    .filter((frame) => frame !== '')
    .map((frame) => {
      const [event = '', data = ''] = frame.split('\n');
      const parsed = Frame.parse(JSON.parse(data.slice('data: '.length)));
      expect(event).toBe(`event: ${parsed.type}`);
      return parsed;
    });
}

test('a text is streamed in the order of the Messages API', async () => {
  const model = await start([
    { kind: 'text', text: 'Hello there', deltaSize: 6, usage: { inputTokens: 3, outputTokens: 5 } },
  ]);
  const types = await frames(await ask(model, { stream: true }));
  expect(types.map((frame) => frame.type)).toEqual([
    ...['message_start', 'ping', 'content_block_start', 'content_block_delta', 'content_block_delta'],
    ...['content_block_stop', 'message_delta', 'message_stop'],
  ]);
  expect(types.at(-2)).toMatchObject({ delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 5 } });
});

test('without stream the same answer is one JSON message', async () => {
  const model = await start([
    { kind: 'tool_use', text: 'Doing it', tools: [{ id: 'toolu_1', name: 'Bash', input: { command: 'ls' } }] },
  ]);
  expect(await (await ask(model)).json()).toMatchObject({
    type: 'message',
    model: 'claude-x',
    stop_reason: 'tool_use',
    content: [
      { type: 'text', text: 'Doing it' },
      { type: 'tool_use', id: 'toolu_1', name: 'Bash', input: { command: 'ls' } },
    ],
    usage: { input_tokens: 12, output_tokens: 25 },
  });
});

test('steps are eaten in order, the last one repeats, and a function can answer instead', async () => {
  const listed = await start([
    { kind: 'text', text: 'one' },
    { kind: 'text', text: 'two' },
  ]);
  const texts = [];
  for (let n = 0; n < 3; n += 1) {
    texts.push(await (await ask(listed)).text());
  }
  expect(texts.map((text) => /"text":"(\w+)"/.exec(text)?.[1])).toEqual(['one', 'two', 'two']);
  const scripted = await start(({ n, body }) => ({ kind: 'text', text: `${n} ${body.model}` }));
  await ask(scripted);
  expect(await (await ask(scripted)).text()).toContain('1 claude-x');
});

test('a request for a session title does not eat a step', async () => {
  const model = await start([
    { kind: 'text', text: 'first' },
    { kind: 'text', text: 'second' },
  ]);
  const title = await ask(model, {
    system: [{ type: 'text', text: 'You are naming a coding session so that …' }],
    tools: [],
  });
  expect(await title.text()).toContain('Scripted title');
  expect(await (await ask(model)).text()).toContain('first');
});

test('a request without a credential, or with another than expected, is 401', async () => {
  const model = await start([{ kind: 'text', text: 'ok' }], 'right');
  expect((await ask(model, {}, { 'x-api-key': '' })).status).toBe(401);
  const wrong = await ask(model, {}, { 'x-api-key': 'wrong' });
  expect([wrong.status, await wrong.json()]).toMatchObject([401, { error: { type: 'authentication_error' } }]);
  expect((await ask(model, {}, { 'x-api-key': 'right' })).status).toBe(200);
  expect((await ask(model, {}, { 'x-api-key': '', authorization: 'Bearer right' })).status).toBe(200);
});

test('another path is 404, a body without messages 400, and count_tokens is answered', async () => {
  const model = await start([{ kind: 'text', text: 'ok' }]);
  expect((await fetch(`${model.url}/v1/models`)).status).toBe(404);
  expect((await ask(model, { messages: [] })).status).toBe(400);
  const counted = await fetch(`${model.url}/v1/messages/count_tokens`, {
    method: 'POST',
    headers: { 'x-api-key': 'k' },
    body: JSON.stringify({ model: 'claude-x', messages: [{ role: 'user', content: 'hi' }] }),
  });
  expect(await counted.json()).toEqual({ input_tokens: expect.any(Number) });
});

test('an HTTP error has the scripted status, headers and body', async () => {
  const model = await start([
    {
      kind: 'http_error',
      status: 429,
      type: 'rate_limit_error',
      message: 'Slow down',
      headers: { 'retry-after': '7' },
    },
    { kind: 'http_error', status: 500, body: 'not json' },
  ]);
  const limited = await ask(model);
  expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '7']);
  expect(await limited.json()).toEqual({ type: 'error', error: { type: 'rate_limit_error', message: 'Slow down' } });
  expect(await (await ask(model)).text()).toBe('not json');
});

test('a reset breaks the connection in mid-stream, and an SSE error ends the stream', async () => {
  const model = await start([
    { kind: 'reset', text: 'Hello from' },
    { kind: 'stream_error', message: 'Too busy' },
  ]);
  const broken = await ask(model, { stream: true });
  await expect(broken.text()).rejects.toThrow();
  const last = (await frames(await ask(model, { stream: true }))).at(-1);
  expect(last).toEqual({ type: 'error', error: { type: 'overloaded_error', message: 'Too busy' } });
});

test('a stall says nothing more until the client leaves', async () => {
  const model = await start([
    { kind: 'stall', when: 'mid_stream', text: 'Hello' },
    { kind: 'stall', when: 'before_headers' },
  ]);
  const leaving = new AbortController();
  const response = await fetch(`${model.url}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': 'k' },
    body: JSON.stringify({ model: 'claude-x', stream: true, messages: [{ role: 'user', content: 'hi' }] }),
    signal: leaving.signal,
  });
  const reader = z
    .instanceof(ReadableStream<Uint8Array>)
    .parse(response.body)
    .getReader();
  const first = await reader.read();
  expect(first.done).toBe(false);
  expect(model.openAnswers).toBe(1);
  leaving.abort();
  await expect(reader.read().then(() => reader.read())).rejects.toThrow();
  await expect.poll(() => model.openAnswers).toBe(0);
});

test('refusal, max_tokens, thinking and structured output come as the API gives them', async () => {
  const model = await start([
    { kind: 'refusal' },
    { kind: 'max_tokens', text: 'cut' },
    { kind: 'text', thinking: 'hm', text: 'so' },
    { kind: 'structured_output', output: { ok: true } },
  ]);
  expect(await (await ask(model)).json()).toMatchObject({ stop_reason: 'refusal', content: [] });
  expect(await (await ask(model)).json()).toMatchObject({ stop_reason: 'max_tokens' });
  const thought = await frames(await ask(model, { stream: true }));
  expect(thought.map((frame) => frame.type).filter((type) => type === 'content_block_start')).toHaveLength(2);
  expect(await (await ask(model)).json()).toMatchObject({
    content: [{ name: 'StructuredOutput', input: { ok: true } }],
  });
});

test('requests are recorded with path, headers and parsed body', async () => {
  const model = await start([{ kind: 'text', text: 'ok' }]);
  await ask(model, {}, { 'x-test': 'yes' });
  expect(model.requests).toHaveLength(1);
  expect(model.requests[0]).toMatchObject({
    path: '/v1/messages?beta=true',
    headers: { 'x-test': 'yes' },
    body: { model: 'claude-x' },
  });
});

test('a wrong step is refused when the model starts', async () => {
  await expect(startScriptedModel({ script: [{ kind: 'http_error', status: 200 }] })).rejects.toThrow(/status/);
});
