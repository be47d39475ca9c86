import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import type { ModelCall } from '../../src/model-gateway/model-call.ts';
import type { ModelGateway } from '../../src/model-gateway/model-gateway.ts';
import { startModelGateway } from '../../src/model-gateway/model-gateway.ts';
import type { Script, ScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { gatewayRun } from '../support/gateway-run.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) {
    await close();
  }
});

interface Setup {
  model: ScriptedModel;
  gateway: ModelGateway;
  token: string;
  calls: ModelCall[];
}

async function setup(script: Script): Promise<Setup> {
  const model = await startScriptedModel({ script });
  closing.push(() => model.close());
  const gateway = await startModelGateway({
    upstream: model.url,
    listen: { host: '127.0.0.1', port: 0 },
  });
  closing.push(() => gateway.close());
  const token = gateway.issueToken();
  const calls: ModelCall[] = [];
  gateway.attach(token, gatewayRun({ onCall: (call) => calls.push(call) }));
  return { model, gateway, token, calls };
}

/** Sends a streamed call and resolves with the answer's headers; nobody reads the body yet. */
async function open({ gateway, token }: Setup): Promise<IncomingMessage> {
  const sent = request(`${gateway.baseUrl}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': token },
    agent: false,
  });
  sent.end(JSON.stringify({ model: 'claude-sonnet-5-5', stream: true, messages: [{ role: 'user', content: 'hi' }] }));
  const [response] = await once(sent, 'response');
  return z.custom<IncomingMessage>((value) => value !== undefined).parse(response);
}

async function bytesOf(response: IncomingMessage): Promise<{ bytes: number; deltas: number }> {
  let bytes = 0;
  let deltas = 0;
  for await (const chunk of response) {
    const piece = Buffer.from(chunk);
    bytes += piece.length;
    deltas += piece.toString('latin1').split('event: content_block_delta').length - 1;
  }
  return { bytes, deltas };
}

test('an answer of 20 MB passes whole and is metered', async () => {
  const at = await setup([{ kind: 'huge_text', bytes: 20_000_000, usage: { outputTokens: 77 } }]);
  expect((await bytesOf(await open(at))).bytes).toBeGreaterThan(20_000_000);
  await expect.poll(() => at.calls).toMatchObject([{ end: 'complete', usage: { outputTokens: 77 } }]);
});

test('50,000 deltas pass whole', async () => {
  const at = await setup([{ kind: 'deltas', count: 50_000, text: 'abcde' }]);
  const { bytes } = await bytesOf(await open(at));
  expect(bytes).toBeGreaterThan(50_000 * 100);
  await expect.poll(() => at.calls).toMatchObject([{ end: 'complete', stopReason: 'end_turn' }]);
});

test('the first delta passes before the answer goes on', async () => {
  const at = await setup([{ kind: 'stall', when: 'mid_stream', text: 'early' }]);
  const response = await open(at);
  let seen = '';
  for await (const chunk of response) {
    seen += String(chunk);
    if (seen.includes('early')) {
      break;
    }
  }
  expect(at.calls).toHaveLength(0);
  await expect.poll(() => at.calls).toHaveLength(1);
});

test('a reader that does not read holds the upstream back, and memory stays', async () => {
  const at = await setup([{ kind: 'huge_text', bytes: 200_000_000 }]);
  const before = process.memoryUsage.rss();
  const response = await open(at);
  let last = -1;
  await expect
    .poll(
      () => {
        const spent = at.gateway.spentUsd(at.token);
        const settled = spent > 0 && spent === last;
        last = spent;
        return settled;
      },
      { interval: 300, timeout: 20_000 },
    )
    .toBe(true);
  expect(at.model.openAnswers).toBe(1);
  expect(process.memoryUsage.rss() - before).toBeLessThan(100_000_000);
  response.destroy();
  await expect.poll(() => at.model.openAnswers).toBe(0);
});

test('when the client leaves, the upstream call ends and is counted by an estimate', async () => {
  const at = await setup([{ kind: 'stall', when: 'mid_stream', text: 'x'.repeat(4000), deltaSize: 400 }]);
  const response = await open(at);
  let received = 0;
  for await (const chunk of response) {
    received += Buffer.from(chunk).length;
    if (received > 5000) {
      break;
    }
  }
  await expect.poll(() => at.model.openAnswers).toBe(0);
  await expect.poll(() => at.calls).toMatchObject([{ end: 'client_closed', status: 200, estimated: true }]);
  expect(at.calls[0]?.usage.outputTokens).toBe(1000);
});

test('when the client leaves before the headers, the upstream call ends too', async () => {
  const at = await setup([{ kind: 'stall', when: 'before_headers' }]);
  const leaving = new AbortController();
  const asked = fetch(`${at.gateway.baseUrl}/v1/messages`, {
    ...{ method: 'POST', headers: { 'x-api-key': at.token }, signal: leaving.signal },
    body: JSON.stringify({ model: 'claude-sonnet-5-5', messages: [{ role: 'user', content: 'hi' }] }),
  });
  await expect.poll(() => at.model.openAnswers).toBe(1);
  leaving.abort();
  await expect(asked).rejects.toThrow();
  await expect.poll(() => at.model.openAnswers).toBe(0);
  await expect.poll(() => at.calls).toMatchObject([{ end: 'client_closed', status: null, costUsd: 0 }]);
});

test('when the upstream resets in mid-stream, the client sees a broken connection', async () => {
  const at = await setup([{ kind: 'reset', text: 'Hello from the middle' }]);
  const response = await open(at);
  await expect(bytesOf(response)).rejects.toThrow('aborted');
  await expect.poll(() => at.calls).toMatchObject([{ end: 'upstream_failed', status: 200, estimated: true }]);
});

test('detaching a run breaks off its calls under way, and no other', async () => {
  const at = await setup(({ n }) =>
    n === 0 ? { kind: 'stall', when: 'mid_stream' } : { kind: 'text', text: 'ok', deltaEveryMs: 5, deltaSize: 1 },
  );
  const other = at.gateway.issueToken();
  at.gateway.attach(other, gatewayRun({ executionId: 'e2' }));
  const stalled = await open(at);
  const going = await open({ ...at, token: other });
  at.gateway.detach(at.token);
  await expect(bytesOf(stalled)).rejects.toThrow('aborted');
  expect((await bytesOf(going)).deltas).toBe(2);
  await expect.poll(() => at.calls).toMatchObject([{ end: 'client_closed' }]);
});

test('fifty calls at once each get their own answer', async () => {
  const at = await setup(({ body }) => ({
    kind: 'text',
    text: `answer to ${JSON.stringify(body.messages)}`,
    deltaEveryMs: 1,
  }));
  const answers = await Promise.all(
    Array.from({ length: 50 }, async (_, n) => {
      const response = await fetch(`${at.gateway.baseUrl}/v1/messages`, {
        ...{ method: 'POST', headers: { 'x-api-key': at.token } },
        body: JSON.stringify({ model: 'claude-sonnet-5-5', messages: [{ role: 'user', content: `question ${n}` }] }),
      });
      return (await response.text()).includes(`question ${n}\\`);
    }),
  );
  expect(answers).toEqual(Array.from({ length: 50 }, () => true));
  await expect.poll(() => at.calls).toHaveLength(50);
});

test('closing the gateway ends every call and frees the port', async () => {
  const at = await setup([{ kind: 'stall', when: 'mid_stream' }]);
  const stalled = await open(at);
  await at.gateway.close();
  await expect(bytesOf(stalled)).rejects.toThrow('aborted');
  await expect(fetch(at.gateway.baseUrl)).rejects.toThrow();
  await expect.poll(() => at.calls).toHaveLength(1);
});
