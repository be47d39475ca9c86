import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Execution } from '../../src/protocol/execution.ts';
import { recordedLog } from '../support/recorded-log.ts';
import { rpcClient } from '../support/rpc-client.ts';
import { callsTo, type ServerOptions, type TestServer, testServer } from '../support/server.ts';

const OPERATOR = 'sk-ant-api03-operator-AAAA';
const ALICE = 'sk-ant-api03-alice-BBBB';
const BOB = 'sk-ant-api03-bob-CCCC';
const MAX = 'sk-ant-oat01-max-DDDD';
const OTHER_MAX = 'sk-ant-oat01-other-EEEE';
const REFUSED = 'sk-ant-api03-refused-FFFF';

function server(options: ServerOptions = {}): Promise<TestServer> {
  const env = { CC_CALLER_CREDENTIALS: 'on', ANTHROPIC_API_KEY: OPERATOR, ...options.env };
  return testServer({ credential: (presented) => presented !== REFUSED, ...options, env });
}

/** What paid for the calls of runs so far. */
function payers({ model }: TestServer): unknown[] {
  return model.requests
    .filter(({ path }) => path.startsWith('/v1/messages') && !path.includes('count_tokens'))
    .map(({ headers }) => headers['x-api-key'] ?? headers.authorization);
}

function checks({ model }: TestServer): number {
  return model.requests.filter(({ path }) => path.includes('count_tokens')).length;
}

async function answer({ url }: TestServer, key: string, path = '/v1/executions'): Promise<[number, string]> {
  const response = await callsTo(url, key).call(path);
  return [response.status, await response.text()];
}

describe('a Claude credential of the caller’s own', () => {
  test('opens the doors, pays for its runs, and is a tenant of its own', async () => {
    const at = await server();
    const alice = callsTo(at.url, ALICE);
    expect((await alice.run({ prompt: 'Hi' })).outcome?.kind).toBe('succeeded');
    const mine = await fetch(`${at.url}/v1/execute`, {
      method: 'POST',
      headers: { 'x-api-key': BOB, 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'Hi' }),
    });
    const { id } = Execution.parse(await mine.json());
    expect(mine.status).toBe(200);
    expect((await at.run({ prompt: 'Hi' })).outcome?.kind).toBe('succeeded');
    expect(payers(at)).toEqual([ALICE, BOB, OPERATOR]);
    expect((await alice.call(`/v1/executions/${id}`)).status).toBe(404);
    expect((await (await alice.call('/v1/executions')).json()).executions).toHaveLength(1);
    expect((await callsTo(at.url, BOB).get(id)).id).toBe(id);
  });

  test('is checked once, also by many at once, and a refused one is 401 without a check each time', async () => {
    const at = await server();
    const statuses = await Promise.all(Array.from({ length: 20 }, () => answer(at, ALICE)));
    expect(new Set(statuses.map(([status]) => status))).toEqual(new Set([200]));
    expect(checks(at)).toBe(1);
    for (let time = 0; time < 3; time += 1) expect((await answer(at, REFUSED))[0]).toBe(401);
    expect(checks(at)).toBe(2);
  });

  test('opens nothing where the setting is off, and is then not even checked', async () => {
    const at = await server({ env: { CC_CALLER_CREDENTIALS: 'off' } });
    expect((await answer(at, ALICE))[0]).toBe(401);
    expect(at.model.requests).toHaveLength(0);
  });

  test('may neither make keys nor see the credential of the operator', async () => {
    const at = await server();
    for (const path of ['/v1/keys', '/v1/auth/status']) {
      expect(await answer(at, ALICE, path)).toEqual([403, expect.stringContaining('"forbidden"')]);
    }
    expect((await callsTo(at.url, ALICE).call('/v1/auth/max-account', { method: 'DELETE' })).status).toBe(403);
  });

  test('that cannot be checked is 503 and worth another try, not 401', async () => {
    const at = await server({ env: { ANTHROPIC_BASE_URL: 'http://127.0.0.1:9' } });
    const response = await callsTo(at.url, ALICE).call('/v1/executions');
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    const text = await response.text();
    expect(text).toContain('model_api_unreachable');
    expect(text).not.toContain('alice');
  });

  test('opens the WebSocket, whose runs it pays for', async () => {
    const at = await server();
    const client = await rpcClient(at.url, { key: ALICE });
    const { result } = await client.call('execute', { prompt: 'Hi' });
    const { id } = Execution.parse(result);
    await expect.poll(async () => (await callsTo(at.url, ALICE).get(id)).state, { timeout: 10_000 }).toBe('finished');
    expect(payers(at)).toEqual([ALICE]);
  });

  test('names the same tenant after a start, and its runs wait for nothing else than itself', async () => {
    const first = await server();
    const { id } = await callsTo(first.url, ALICE).run({ prompt: 'Hi' });
    await first.stop();
    const second = await server({ folder: first.folder });
    expect((await callsTo(second.url, ALICE).get(id)).id).toBe(id);
  });

  test('does not make a service ready whose operator has set a credential that cannot be used', async () => {
    const at = await server({ env: { ANTHROPIC_API_KEY: '', CC_CLAUDE_CREDENTIALS: '/no/such/login.json' } });
    expect((await fetch(`${at.url}/health/ready`)).status).toBe(503);
  });

  test('pays also where the operator has none, and the service is ready all the same', async () => {
    const at = await server({ env: { ANTHROPIC_API_KEY: '' } });
    expect((await fetch(`${at.url}/health/ready`)).status).toBe(200);
    expect((await callsTo(at.url, ALICE).run({ prompt: 'Hi' })).outcome?.kind).toBe('succeeded');
    expect((await at.run({ prompt: 'Hi' })).outcome).toMatchObject({ kind: 'failed', reason: 'auth_failed' });
    expect(payers(at)).toEqual([ALICE]);
  });
});

describe('the one Max account', () => {
  test('is the first that is presented; any other is refused with the reason, until the operator forgets it', async () => {
    const at = await server();
    expect((await answer(at, MAX))[0]).toBe(200);
    expect(await answer(at, OTHER_MAX)).toEqual([401, expect.stringContaining('one Claude Max account')]);
    expect((await answer(at, ALICE))[0]).toBe(200);
    const status = async () => (await (await at.call('/v1/auth/status')).json()).maxAccount;
    expect(await status()).toBe('pinned');
    expect((await at.call('/v1/auth/max-account', { method: 'DELETE' })).status).toBe(204);
    expect(await status()).toBe('none');
    expect((await answer(at, OTHER_MAX))[0]).toBe(200);
    expect((await answer(at, MAX))[0]).toBe(401);
    const { entries } = await (await at.call('/v1/audit?limit=100')).json();
    const told = entries
      .map(({ action }: { action: string }) => action)
      .filter((name: string) => /credential/.test(name));
    expect(told).toEqual(['credential.pin', 'credential.reset', 'credential.pin']);
  });

  test('is the operator’s where one is configured, also in place of one that was pinned', async () => {
    const first = await server();
    expect((await answer(first, OTHER_MAX))[0]).toBe(200);
    await first.stop();
    const env = { ANTHROPIC_API_KEY: '', CLAUDE_CODE_OAUTH_TOKEN: MAX };
    const second = await server({ folder: first.folder, env });
    expect(await answer(second, OTHER_MAX)).toEqual([401, expect.stringContaining('the account of its operator')]);
    expect((await answer(second, MAX))[0]).toBe(200);
    expect((await (await second.call('/v1/auth/status')).json()).maxAccount).toBe('configured');
  });

  test('is none with CC_ALLOW_MAX off, which says so', async () => {
    const at = await server({ env: { CC_ALLOW_MAX: 'off' } });
    expect(await answer(at, MAX)).toEqual([401, expect.stringContaining('CC_ALLOW_MAX is off')]);
    expect(at.model.requests).toHaveLength(0);
  });

  test('a token that the model API refuses is pinned by nobody', async () => {
    const at = await server({ credential: (presented) => presented !== OTHER_MAX });
    expect((await answer(at, OTHER_MAX))[0]).toBe(401);
    expect((await answer(at, MAX))[0]).toBe(200);
  });
});

test('a credential of a caller is nowhere but in memory: not in the data folder, the log, the events or a command line', async () => {
  const log = recordedLog();
  const command = 'cat /proc/self/environ /proc/*/cmdline 2>/dev/null | tr "\\0" "\\n"';
  const at = await server({
    logger: log.logger,
    script: ({ n }) =>
      n === 0
        ? { kind: 'tool_use', tools: [{ name: 'Bash', input: { command } }] }
        : { kind: 'text', text: 'done', deltaEveryMs: 10 },
  });
  const caller = callsTo(at.url, MAX);
  const { id } = await caller.submit({ prompt: 'Look around', allowedTools: ['Bash'] });
  const during = await everyFile(at.folder);
  const events = await caller.stream(id);
  expect((await caller.run({ prompt: 'Again' })).outcome?.kind).toBe('succeeded');
  expect((await answer(at, OTHER_MAX))[0]).toBe(401);
  expect(events.includes('ANTHROPIC_BASE_URL=')).toBe(true);
  for (const text of [during, await everyFile(at.folder), log.text(), events]) {
    for (const canary of ['max-DDDD', 'other-EEEE']) expect(text.includes(canary)).toBe(false);
  }
  expect(log.text()).toContain('request');
});

/** All bytes of all files below a folder. */
async function everyFile(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const texts = await Promise.all(files.map((file) => readFile(file, 'latin1').catch(() => '')));
  return texts.join('\n');
}
