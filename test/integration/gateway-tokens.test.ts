import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { type ModelGateway, startModelGateway } from '../../src/model-gateway/model-gateway.ts';
import type { SpendPort } from '../../src/model-gateway/spend-port.ts';
import { type ScriptedModel, startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { executor } from '../support/executor.ts';
import { gatewayRun } from '../support/gateway-run.ts';

const BODY = JSON.stringify({ model: 'claude-sonnet-5-5', stream: true, messages: [{ role: 'user', content: 'hi' }] });

async function setup(spend?: SpendPort): Promise<{ model: ScriptedModel; gateway: ModelGateway; token: string }> {
  const model = await startScriptedModel({ script: [{ kind: 'text', text: 'ok' }] });
  onTestFinished(() => model.close());
  const listen = { host: '127.0.0.1', port: 0 };
  const gateway = await startModelGateway({ upstream: model.url, listen, ...(spend && { spend }) });
  onTestFinished(() => gateway.close());
  const token = gateway.issueToken();
  gateway.attach(token, gatewayRun());
  return { model, gateway, token };
}

interface Line {
  socket: Socket;
  /** All that has come so far. */
  text(): string;
}

async function connected({ baseUrl }: ModelGateway): Promise<Line> {
  const socket = connect(Number(new URL(baseUrl).port), '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  let text = '';
  socket.on('data', (bytes) => (text += String(bytes)));
  socket.on('error', () => {});
  await once(socket, 'connect');
  return { socket, text: () => text };
}

function head(token: string): string {
  return `POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: ${token}\r\ncontent-length: ${BODY.length}\r\n\r\n`;
}

test('a connection that was opened and used before the end of the run is 401 behind it', async () => {
  const { gateway, model, token } = await setup();
  const used = await connected(gateway);
  used.socket.write(head(token) + BODY);
  await expect.poll(used.text).toContain('message_stop');
  const idle = await connected(gateway);
  gateway.detach(token);
  for (const { socket, text } of [used, idle]) {
    const before = text().length;
    socket.write(head(token) + BODY);
    await expect.poll(() => text().slice(before)).toContain('HTTP/1.1 401');
  }
  expect(model.requests).toHaveLength(1);
});

test('a request that is half sent at the end of the run is broken off, and reaches nobody', async () => {
  const { gateway, model, token } = await setup();
  const { socket, text } = await connected(gateway);
  const closed = once(socket, 'close');
  // The answer to the expectation says that the request is being read.
  socket.write(head(token).replace('\r\n\r\n', '\r\nexpect: 100-continue\r\n\r\n') + BODY.slice(0, 10));
  await expect.poll(text).toContain('100 Continue');
  gateway.detach(token);
  await closed;
  expect(model.requests).toHaveLength(0);
});

test('a call that waits for its admission at the end of the run is not made, and books nothing', async () => {
  const admitting = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const settled: number[] = [];
  const { gateway, model, token } = await setup({
    admit: async () => {
      asked.resolve();
      await admitting.promise;
      return { kind: 'admitted', settle: (costUsd) => settled.push(costUsd) };
    },
  });
  const { socket } = await connected(gateway);
  const closed = once(socket, 'close');
  socket.write(head(token) + BODY);
  await asked.promise;
  gateway.detach(token);
  admitting.resolve();
  await closed;
  await expect.poll(() => settled).toEqual([0]);
  expect(model.requests).toHaveLength(0);
});

test('what a tool of a run has kept of its token is worth nothing once the run is over', async () => {
  const at = await executor({
    script: ({ n }) =>
      n === 0
        ? {
            kind: 'tool_use',
            tools: [{ name: 'Bash', input: { command: 'printf "%s %s" "$ANTHROPIC_BASE_URL" "$ANTHROPIC_API_KEY"' } }],
          }
        : { kind: 'text', text: 'done' },
  });
  const { events } = await at.run({ prompt: 'Show it', allowedTools: ['Bash'] });
  const [, baseUrl = '', token = ''] = /(http:\/\/127\.0\.0\.1:\d+) (ccr_[\w-]{32})/.exec(JSON.stringify(events)) ?? [];
  expect(token).not.toBe('');
  const asked = at.model.requests.length;
  const response = await fetch(`${baseUrl}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': token },
    body: BODY,
  });
  expect([response.status, response.headers.get('x-should-retry')]).toEqual([401, 'false']);
  expect(at.model.requests).toHaveLength(asked);
});
