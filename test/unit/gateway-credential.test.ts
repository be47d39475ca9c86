import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CredentialFound, CredentialSources } from '../../src/model-gateway/credential.ts';
import { findCredential } from '../../src/model-gateway/credential.ts';
import { has } from '../support/capabilities.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cc-cred-'));
});
afterEach(() => rm(directory, { recursive: true }));

const HOUR = 3_600_000;
const login = (fields: Record<string, unknown> = {}) =>
  JSON.stringify({
    claudeAiOauth: {
      ...{ accessToken: 'sk-ant-oat01-secret', refreshToken: 'sk-ant-ort01-secret', expiresAt: Date.now() + HOUR },
      ...{ scopes: ['user:inference', 'user:profile'], subscriptionType: 'max', ...fields },
    },
  });

function find(sources: Partial<CredentialSources>): Promise<CredentialFound> {
  return findCredential({
    ...{ home: join(directory, 'home'), allowMax: true, dataDir: directory },
    runCli: () => Promise.reject(new Error('the CLI must not be run')),
    ...sources,
  });
}

async function file(text: string): Promise<string> {
  const path = join(directory, 'mounted.json');
  await writeFile(path, text);
  return path;
}

async function problemOf(sources: Partial<CredentialSources>): Promise<string> {
  const found = await find(sources);
  expect(JSON.stringify(found)).not.toMatch(/sk-ant-\w+-secret/);
  return found.ok ? `${found.credential.source} was taken` : found.problem.code;
}

test('exactly one credential wins: API key, Max token, mounted login, own login', async () => {
  await mkdir(join(directory, 'home/.claude'), { recursive: true });
  await writeFile(join(directory, 'home/.claude/.credentials.json'), login({ accessToken: 'own' }));
  const all = { apiKey: 'key', oauthToken: 'token', credentialsFile: await file(login({ accessToken: 'mounted' })) };
  const winners = [];
  for (const sources of [all, { ...all, apiKey: '' }, { credentialsFile: all.credentialsFile }, {}]) {
    const found = await find(sources);
    winners.push(found.ok && [found.credential.source, found.credential.kind, await found.credential.current()]);
  }
  expect(winners).toEqual([
    ['ANTHROPIC_API_KEY', 'api_key', 'key'],
    ['CLAUDE_CODE_OAUTH_TOKEN', 'max', 'token'],
    ['CC_CLAUDE_CREDENTIALS', 'max', 'mounted'],
    ['login', 'max', 'own'],
  ]);
});

test('CLAUDE_CONFIG_DIR moves the own login', async () => {
  await writeFile(join(directory, '.credentials.json'), login({ accessToken: 'moved' }));
  const found = await find({ configDir: directory });
  expect(found.ok && (await found.credential.current())).toBe('moved');
});

test('without any credential the problem names every way to give one', async () => {
  const found = await find({});
  expect(found).toMatchObject({ ok: false, source: null, problem: { code: 'missing' } });
  expect(JSON.stringify(found)).toMatch(/ANTHROPIC_API_KEY.*CLAUDE_CODE_OAUTH_TOKEN.*CC_CLAUDE_CREDENTIALS/);
});

test.each([
  ['apiKey', 'a b', 'malformed'],
  ['apiKey', 'key\n', 'malformed'],
  ['apiKey', '   ', 'malformed'],
  ['apiKey', 'sk-ant-oat01-secret', 'wrong_variable'],
  ['oauthToken', 'sk-ant-api03-secret', 'wrong_variable'],
  ['oauthToken', 'sk-ant-ort01-secret', 'wrong_variable'],
  ['oauthToken', '"quoted token"', 'malformed'],
])('%s = %j is the problem %s', async (name, value, code) => {
  expect(await problemOf({ [name]: value })).toBe(code);
});

test.each([
  ['nonsense', 'not_json'],
  ['{}', 'no_login'],
  ['{"claudeAiOauth":{}}', 'no_login'],
  ['[]', 'no_login'],
  [login({ accessToken: '', refreshToken: '' }), 'signed_out'],
  [login({ accessToken: 'a\nb' }), 'malformed'],
  [login({ scopes: ['user:profile'] }), 'scope'],
  [login({ expiresAt: 1000, refreshToken: '' }), 'expired'],
])('the mounted login %s is the problem %s', async (text, code) => {
  expect(await problemOf({ credentialsFile: await file(text) })).toBe(code);
});

test('a mounted login that is missing, or a directory, says what to do', async () => {
  const missing = await find({ credentialsFile: join(directory, 'nowhere.json') });
  expect(missing).toMatchObject({ ok: false, problem: { code: 'missing', message: expect.stringContaining('mount') } });
  const folder = await find({ credentialsFile: directory });
  expect(folder).toMatchObject({
    ok: false,
    problem: { code: 'unreadable', message: expect.stringContaining('directory') },
  });
});

test.runIf(has('unprivileged'))('a mounted login that this user may not read names the uid', async () => {
  const path = await file(login());
  await chmod(path, 0);
  const found = await find({ credentialsFile: path });
  expect(found).toMatchObject({
    ok: false,
    problem: { code: 'unreadable', message: expect.stringContaining(`uid ${process.getuid?.()}`) },
  });
});

test('with CC_ALLOW_MAX off no Max credential is taken, from wherever it comes, but an API key is', async () => {
  const credentialsFile = await file(login());
  await writeFile(join(directory, '.credentials.json'), login());
  expect(await problemOf({ allowMax: false, oauthToken: 'token' })).toBe('max_not_allowed');
  expect(await problemOf({ allowMax: false, credentialsFile })).toBe('max_not_allowed');
  expect(await problemOf({ allowMax: false, configDir: directory })).toBe('max_not_allowed');
  expect(await problemOf({ allowMax: false, apiKey: 'key', oauthToken: 'token' })).toBe('ANTHROPIC_API_KEY was taken');
});

test('a description tells the source and the end, never the secret', async () => {
  const found = await find({ credentialsFile: await file(login({ expiresAt: Date.UTC(2100, 0, 1) })) });
  const said = found.ok ? found.credential.describe() : '';
  expect(said).toContain('mounted.json');
  expect(said).not.toContain('secret');
  expect(found.ok && (await found.credential.current())).toBe('sk-ant-oat01-secret');
  expect(found.ok && found.credential.describe()).toContain('2100-01-01');
  const key = await find({ apiKey: 'sk-ant-api03-secret' });
  expect(key.ok && key.credential.describe()).toBe('an API key (ANTHROPIC_API_KEY)');
});
