import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { openServer } from '../../src/server/server.ts';
import { recordedLog } from '../support/recorded-log.ts';
import { rpcClient } from '../support/rpc-client.ts';
import { callsTo, testServer } from '../support/server.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** In every secret that is planted here; whatever else a log holds, it must not hold this. */
const CANARY = 'CANARY';
const SECRETS = {
  CC_API_KEY: `chosen-by-the-operator-himself-${CANARY}-1`,
  ANTHROPIC_API_KEY: `sk-ant-api03-operator-${CANARY}-2`,
  CC_ENVELOPE_KEY: `envelopes-of-this-service-${CANARY}-3`,
  CC_JWT_SECRET: `signs-tokens-of-this-service-${CANARY}-4`,
};
const JWT = `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(`{"sub":"${CANARY}"}`).toString('base64url')}.${CANARY}`;
const PRESENTED = [
  ...[
    `sk-ant-api03-wrong-${CANARY}`,
    `sk-ant-oat01-wrong-${CANARY}`,
    `cck_0123456789abcdef_${CANARY}${'x'.repeat(37)}`,
  ],
  ...[JWT, `ccr_${CANARY}${'x'.repeat(26)}`, `${CANARY}-of-no-known-form`],
];

test('over whole runs and refused requests, the most talkative log holds no secret and no prompt', async () => {
  const log = recordedLog(loadConfig({ HOME: '/nowhere', ...SECRETS }).secrets);
  const command = `echo ${CANARY}-output; echo ${CANARY}-error >&2; exit 3`;
  const at = await testServer({
    key: SECRETS.CC_API_KEY,
    env: { ...SECRETS, CC_CALLER_CREDENTIALS: 'on', CC_WARM_POOL: '1' },
    logger: log.logger,
    credential: (presented) => !presented.includes('wrong'),
    script: ({ n }) =>
      n === 0 ? { kind: 'tool_use', tools: [{ name: 'Bash', input: { command } }] } : { kind: 'text', text: CANARY },
  });
  const caller = callsTo(at.url, `sk-ant-api03-caller-${CANARY}`);
  const env = { MY_SECRET: CANARY };
  const mcpServers = { broken: { command: `/no/such/${CANARY}`, env } };
  await at.run({ prompt: `${CANARY} prompt`, allowedTools: ['Bash'], systemPrompt: CANARY, env, mcpServers });
  await caller.run({ prompt: `${CANARY} prompt`, metadata: { note: CANARY } });
  await (await at.call('/v1/auth/token', { json: {} })).text();
  await (await at.call('/v1/keys', { json: { name: CANARY, scopes: ['admin'] } })).text();

  for (const presented of PRESENTED) {
    for (const headers of [
      { authorization: `Bearer ${presented}` },
      { 'x-api-key': presented },
      { cookie: presented },
    ]) {
      expect([401, 403]).toContain((await fetch(`${at.url}/v1/executions`, { headers })).status);
    }
    await fetch(`${at.url}/v1/executions?key=${presented}&limit=${presented}`);
    await fetch(`${at.url}/${presented}`, { headers: { 'x-api-key': SECRETS.CC_API_KEY } });
    const socket = await rpcClient(at.url, { protocols: ['cc-executor.v1', `cc-executor.key.${presented}`] });
    await socket.closed;
  }
  for (const body of [
    `{"prompt": ${CANARY}`,
    `{"${CANARY}": 1}`,
    JSON.stringify({ prompt: CANARY, env: { PATH: CANARY } }),
  ]) {
    const headers = { 'content-type': 'application/json', 'x-api-key': SECRETS.CC_API_KEY };
    expect((await fetch(`${at.url}/v1/execute`, { method: 'POST', headers, body })).status).toBe(400);
  }
  await at.stop();
  expect(linesWith(log.text())).toEqual([]);
  expect(log.text().split('\n').length).toBeGreaterThan(50);
}, 30_000);

test.each([
  ['a Redis that is not there', { REDIS_URL: `redis://user:password-${CANARY}@127.0.0.1:1/0` }],
  ['a data folder that cannot be made', { CC_DATA_DIR: '/proc/nowhere' }],
  ['an address that is taken', {}],
])('a start that fails for %s tells no secret, neither in the log nor in its error', async (_, env) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  onTestFinished(() => void taken.close());
  const address = taken.address();
  const port = typeof address === 'object' ? String(address?.port) : '';
  const HOME = await temporaryFolder();
  const config = loadConfig({ HOME, CC_HOST: '127.0.0.1', CC_PORT: port, CC_WARM_POOL: '0', ...SECRETS, ...env });
  const log = recordedLog(config.secrets);
  const failure = await openServer(config, { logger: log.logger, version: 'test' }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(Error);
  log.logger.error({ err: failure, config }, 'the start failed');
  const told = failure instanceof Error ? `${failure.stack} ${String(failure.cause)}` : '';
  expect([linesWith(log.text()), told.includes(CANARY)]).toEqual([[], false]);
});

/** The lines with a canary, shortened around it. */
function linesWith(text: string): string[] {
  const lines = text.split('\n').filter((line) => line.includes(CANARY));
  return lines.map((line) => line.slice(Math.max(0, line.indexOf(CANARY) - 200), line.indexOf(CANARY) + 100));
}
