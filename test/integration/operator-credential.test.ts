import { expect, test } from 'vitest';
import { seenInRuns } from '../../src/doctor/check-credential.ts';
import { AuthStatus, type CredentialStatus } from '../../src/protocol/credential-status.ts';
import { recordedLog } from '../support/recorded-log.ts';
import { type TestServer, testServer } from '../support/server.ts';

async function credentialOf({ call }: TestServer, query = ''): Promise<CredentialStatus | undefined> {
  return AuthStatus.parse(await (await call(`/v1/auth/status${query}`)).json()).nodes[0]?.credential;
}

async function readiness({
  call,
}: TestServer): Promise<{ status: number; credential: { ok: boolean; detail: string } }> {
  const response = await call('/health/ready');
  return { status: response.status, credential: (await response.json()).checks.credential };
}

test('exactly one wins, and the first lines and the status say which, without its secret', async () => {
  const log = recordedLog();
  const env = { CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-second', CC_CLAUDE_CREDENTIALS: '/none' };
  const at = await testServer({ env, logger: log.logger });
  expect(log.text()).toContain('"description":"an API key (ANTHROPIC_API_KEY)"');
  const lines = at.server.lines.join('\n');
  expect(lines).toContain('credential  an API key (ANTHROPIC_API_KEY)');
  expect(lines).not.toContain('sk-ant');
  expect(await credentialOf(at)).toEqual({
    kind: 'api_key',
    source: 'ANTHROPIC_API_KEY',
    description: 'an API key (ANTHROPIC_API_KEY)',
    validUntil: null,
    problem: null,
    lastTest: null,
    lastRefusal: null,
    state: 'ok',
  });
});

test('one that cannot be used is a status with its repair, and the service is not ready', async () => {
  const at = await testServer({ env: { ANTHROPIC_API_KEY: '', CC_CLAUDE_CREDENTIALS: '/no/such/login.json' } });
  const problem = { code: 'missing', message: '/no/such/login.json does not exist. Check the path and the mount.' };
  const wanted = { kind: null, source: 'CC_CLAUDE_CREDENTIALS', state: 'missing', problem };
  expect(await credentialOf(at)).toMatchObject(wanted);
  expect(await readiness(at)).toEqual({ status: 503, credential: { ok: false, detail: problem.message } });
});

test('one that a run finds refused makes the service not ready, until the model API takes it again', async () => {
  let refuses = true;
  const log = recordedLog();
  const at = await testServer({ credential: () => !refuses, logger: log.logger });
  expect((await readiness(at)).status).toBe(200);
  expect((await at.run({ prompt: 'Hi' })).outcome).toMatchObject({ kind: 'failed', reason: 'auth_failed' });
  const lastRefusal = {
    kind: 'refused',
    status: 401,
    resetAt: null,
    repair: expect.stringContaining('ANTHROPIC_API_KEY'),
  };
  await expect.poll(() => credentialOf(at)).toMatchObject({ state: 'refused', lastRefusal });
  await expect
    .poll(() => readiness(at), { timeout: 3_000 })
    .toMatchObject({
      status: 503,
      credential: { ok: false, detail: expect.stringContaining('the model API refuses it; make a new API key') },
    });
  expect(log.text()).toContain('the model API refused the Claude credential');
  const doctor = () => seenInRuns({ dataDirectory: `${at.folder}/data` });
  await expect
    .poll(doctor)
    .toMatchObject([{ state: 'warn', detail: expect.stringContaining('was refused (HTTP 401)') }]);
  refuses = false;
  expect((await at.run({ prompt: 'Hi' })).outcome?.kind).toBe('succeeded');
  expect(await credentialOf(at)).toMatchObject({ state: 'ok', lastRefusal });
  expect(await doctor()).toEqual([]);
  await expect.poll(() => readiness(at), { timeout: 3_000 }).toMatchObject({ status: 200 });
});

test('a refused one is tried by itself when its readiness is asked for, because no run comes to prove it', async () => {
  let refuses = true;
  const at = await testServer({ credential: () => !refuses });
  await at.run({ prompt: 'Hi' });
  refuses = false;
  const ready = async (): Promise<number> => (await readiness(at)).status;
  await expect.poll(ready, { timeout: 5_000, interval: 300 }).toBe(200);
  expect(await credentialOf(at)).toMatchObject({ state: 'ok', lastTest: { ok: true, status: 200, repair: null } });
});

test('a usage limit is a warning with its end: the service stays ready, and the run says so', async () => {
  const reset = Math.floor(Date.now() / 1000) + 3_600;
  const headers = {
    'anthropic-ratelimit-unified-status': 'rejected',
    'anthropic-ratelimit-unified-reset': String(reset),
    'anthropic-ratelimit-unified-representative-claim': 'five_hour',
  };
  const at = await testServer({
    env: { ANTHROPIC_API_KEY: '', CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-limited' },
    script: [{ kind: 'http_error', status: 429, type: 'rate_limit_error', message: 'limit', headers }],
  });
  expect((await at.run({ prompt: 'Hi' })).outcome).toMatchObject({ kind: 'failed', reason: 'usage_limit' });
  const resetAt = new Date(reset * 1000).toISOString();
  expect(await credentialOf(at)).toMatchObject({
    state: 'limited',
    lastRefusal: { kind: 'usage_limit', status: 429, resetAt },
  });
  await expect
    .poll(() => readiness(at), { timeout: 3_000 })
    .toEqual({
      status: 200,
      credential: { ok: true, detail: `max: its usage limit is reached, until ${resetAt}` },
    });
});

test('a try is made on request, at most once a minute, and says what came of it and what to do', async () => {
  const at = await testServer({ credential: () => false });
  const repair = 'make a new API key in the console, and set ANTHROPIC_API_KEY to it';
  const lastTest = { ok: false, status: 401, detail: 'HTTP 401', repair };
  const answers = await Promise.all(Array.from({ length: 5 }, () => credentialOf(at, '?test=true')));
  for (const answer of answers) expect(answer).toMatchObject({ state: 'refused', lastTest });
  expect(at.model.requests).toHaveLength(1);
});

test('a try that reaches nobody says nothing about the credential', async () => {
  const at = await testServer({ env: { ANTHROPIC_BASE_URL: 'http://127.0.0.1:9' } });
  const repair = expect.stringContaining('check the network, ANTHROPIC_BASE_URL and HTTPS_PROXY');
  expect(await credentialOf(at, '?test=true')).toMatchObject({
    state: 'ok',
    lastTest: { ok: null, status: null, repair },
  });
});
