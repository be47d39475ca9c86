import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import type { RunCli } from '../../src/model-gateway/login-keeper.ts';
import { LoginKeeper } from '../../src/model-gateway/login-keeper.ts';
import { has } from '../support/capabilities.ts';
import { ROOT } from '../support/source-files.ts';

/** Rewrites the copy as the CLI does; login-keeper-claude.test.ts holds the same against the real one. */
type Server = (copy: string) => Promise<void>;

let directory = '';
let file = '';
let dataDir = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cc-keeper-'));
  file = join(directory, 'operator/.credentials.json');
  dataDir = join(directory, 'data');
  await mkdir(join(directory, 'operator'));
  await mkdir(dataDir);
});
afterEach(() => rm(directory, { recursive: true }));

const HOUR = 3_600_000;
const File = z.looseObject({ claudeAiOauth: z.looseObject({ accessToken: z.string(), expiresAt: z.number() }) });

function login(name: string, expiresAt: number): Record<string, unknown> {
  const tokens =
    name === '' ? { accessToken: '', refreshToken: '' } : { accessToken: `at-${name}`, refreshToken: `rt-${name}` };
  return { claudeAiOauth: { ...tokens, expiresAt, scopes: ['user:inference'], subscriptionType: 'max' } };
}

const answers =
  (name: string, expiresAt: number): Server =>
  (copy) =>
    writeFile(copy, JSON.stringify(login(name, expiresAt)));

function keeperWith(server: Server): { keeper: LoginKeeper; runs: string[] } {
  const runs: string[] = [];
  const runCli: RunCli = async (args, env) => {
    runs.push(args.join(' '));
    const copy = join(z.string().parse(env.CLAUDE_CONFIG_DIR), '.credentials.json');
    expect((await stat(join(copy, '..'))).mode & 0o777).toBe(0o700);
    await server(copy);
    return { exitCode: 0, stderr: '' };
  };
  return { keeper: new LoginKeeper({ file, dataDir, runCli }), runs };
}

async function operatorFile(): Promise<z.infer<typeof File>> {
  return File.parse(JSON.parse(await readFile(file, 'utf8')));
}

/** The data folder, without the lock that stays in it. */
async function keptFiles(): Promise<string[]> {
  return (await readdir(dataDir)).filter((name) => name !== 'login-refresh.lock');
}

test('a login with time left is used as it is', async () => {
  await writeFile(file, JSON.stringify(login('old', Date.now() + HOUR)));
  const { keeper, runs } = keeperWith(answers('new', Date.now() + 8 * HOUR));
  expect(await keeper.current()).toBe('at-old');
  expect(runs).toEqual([]);
});

test('a login about to end is refreshed once for all who ask, and written back with what else stood there', async () => {
  const before = { ...login('old', Date.now() + 60_000), mcpOAuth: { kept: true } };
  await writeFile(file, JSON.stringify(before), { mode: 0o640 });
  const { keeper, runs } = keeperWith(answers('new', Date.now() + 8 * HOUR));
  expect(await Promise.all(Array.from({ length: 20 }, () => keeper.current()))).toEqual(Array(20).fill('at-new'));
  expect(runs).toEqual(['auth status']);
  expect(await operatorFile()).toMatchObject({
    mcpOAuth: { kept: true },
    claudeAiOauth: { accessToken: 'at-new', refreshToken: 'rt-new' },
  });
  expect((await stat(file)).mode & 0o777).toBe(0o640);
  expect(await keptFiles()).toEqual([]);
  expect(await readdir(join(directory, 'operator'))).toEqual(['.credentials.json']);
});

test('a refresh after a refused token happens once, and not when there is a newer token already', async () => {
  await writeFile(file, JSON.stringify(login('old', Date.now() + HOUR)));
  const { keeper, runs } = keeperWith(answers('new', Date.now() + 8 * HOUR));
  await Promise.all([keeper.refresh('at-old'), keeper.refresh('at-old')]);
  await keeper.refresh('at-old');
  expect(runs).toHaveLength(1);
  expect(await keeper.current()).toBe('at-new');
});

test('a refused refresh leaves the operator file as it was, says what to do, and is not tried again at once', async () => {
  const text = JSON.stringify(login('old', Date.now() - 1000));
  await writeFile(file, text);
  const { keeper, runs } = keeperWith(answers('', 0));
  await expect(keeper.current()).rejects.toThrow(/refused.*\/login.*setup-token/);
  await expect(keeper.current()).rejects.toThrow(/refused/);
  expect(runs).toHaveLength(1);
  expect(await readFile(file, 'utf8')).toBe(text);
  expect(await keptFiles()).toEqual([]);
});

test('when the refresh fails, a token that is still valid is used', async () => {
  await writeFile(file, JSON.stringify(login('old', Date.now() + 60_000)));
  const { keeper } = keeperWith(async () => undefined);
  expect(await keeper.current()).toBe('at-old');
  await expect(keeper.refresh('at-old')).rejects.toThrow('did not answer');
});

test('a result without a later end, or a CLI that cannot run, is not taken', async () => {
  const text = JSON.stringify(login('old', Date.now() - 1000));
  await writeFile(file, text);
  await expect(keeperWith(answers('new', Date.now() - 5000)).keeper.current()).rejects.toThrow('did not answer');
  const broken = keeperWith(() => Promise.reject(new Error('spawn ENOENT')));
  await expect(broken.keeper.current()).rejects.toThrow('spawn ENOENT');
  expect(await readFile(file, 'utf8')).toBe(text);
});

test('a file that changed meanwhile is not overwritten, and its new login is used', async () => {
  await writeFile(file, JSON.stringify(login('old', Date.now() - 1000)));
  const { keeper } = keeperWith(async (copy) => {
    await writeFile(file, JSON.stringify(login('by-operator', Date.now() + 8 * HOUR)));
    await answers('', 0)(copy);
  });
  expect(await keeper.current()).toBe('at-by-operator');
  const { keeper: second } = keeperWith(answers('unused', Date.now() + 9 * HOUR));
  expect(await second.current()).toBe('at-by-operator');
});

test('a newer login that cannot be written back is kept 0600 and preferred, until the operator changes the file', async () => {
  const target = join(directory, 'operator');
  await writeFile(file, JSON.stringify(login('old', Date.now() - 1000)));
  await writeFile(join(dataDir, 'unrelated'), '');
  const { keeper, runs } = keeperWith(async (copy) => {
    await writeFile(file, JSON.stringify({ ...login('old', Date.now() - 1000), touched: true }));
    await answers('new', Date.now() + 8 * HOUR)(copy);
  });
  expect(await keeper.current()).toBe('at-new');
  const kept = join(dataDir, 'claude-login.json');
  expect((await stat(kept)).mode & 0o777).toBe(0o600);
  expect(await keeper.current()).toBe('at-new');
  expect(runs).toHaveLength(1);
  const restarted = keeperWith(answers('unused', Date.now() + 9 * HOUR)).keeper;
  await restarted.load();
  expect(await restarted.current()).toBe('at-new');
  await writeFile(file, JSON.stringify(login('another-account', Date.now() + HOUR)));
  expect(await restarted.current()).toBe('at-another-account');
  expect(await readdir(target)).toEqual(['.credentials.json']);
});

test.runIf(has('unprivileged'))('a folder that is read-only keeps the newer login in the data folder', async () => {
  await writeFile(file, JSON.stringify(login('old', Date.now() - 1000)));
  await chmod(join(directory, 'operator'), 0o500);
  const { keeper } = keeperWith(answers('new', Date.now() + 8 * HOUR));
  expect(await keeper.current()).toBe('at-new');
  expect(await keptFiles()).toEqual(['claude-login.json']);
  await chmod(join(directory, 'operator'), 0o700);
});

test('a login that a service left behind when it died is taken over, and its copies are removed', async () => {
  await writeFile(file, JSON.stringify(login('old', Date.now() - 1000)));
  let seen = '';
  const dying = keeperWith(async (copy) => {
    await answers('new', Date.now() + 8 * HOUR)(copy);
    seen = await readFile(join(copy, '../origin'), 'utf8');
    throw new Error('killed');
  });
  await expect(dying.keeper.current()).resolves.toBe('at-new');
  await writeFile(file, JSON.stringify(login('old', Date.now() - 1000)));
  const left = join(dataDir, `login-copy-${process.pid}-abc`);
  await mkdir(left);
  await writeFile(join(left, 'origin'), seen);
  await writeFile(join(left, '.credentials.json'), JSON.stringify(login('left', Date.now() + 8 * HOUR)));
  const { keeper, runs } = keeperWith(answers('unused', Date.now() + 9 * HOUR));
  await keeper.load();
  expect(await keeper.current()).toBe('at-left');
  expect([runs, await keptFiles()]).toEqual([[], ['claude-login.json']]);
});

test('through many lives of its token a login is refreshed once in each, and every caller gets one that counts', async () => {
  let life = 0;
  const { keeper, runs } = keeperWith(async (copy) => {
    life += 1;
    await answers(`life-${life}`, Date.now() + HOUR)(copy);
  });
  await writeFile(file, JSON.stringify(login('life-0', Date.now() + 1_000)));
  await keeper.load();
  for (let lives = 1; lives <= 5; lives += 1) {
    const tokens = await Promise.all(Array.from({ length: 10 }, () => keeper.current()));
    expect([new Set(tokens), runs.length]).toEqual([new Set([`at-life-${lives}`]), lives]);
    expect((await operatorFile()).claudeAiOauth.accessToken).toBe(`at-life-${lives}`);
    // An hour goes by.
    await writeFile(file, JSON.stringify(login(`life-${lives}`, Date.now() + 1_000)));
  }
});

test('of several services on one data folder one refreshes, and the others take its result', async () => {
  const slow: Server = async (copy) => {
    await delay(200);
    await answers('new', Date.now() + HOUR)(copy);
  };
  const services = Array.from({ length: 4 }, () => keeperWith(slow));
  await writeFile(file, JSON.stringify(login('old', Date.now() + 1_000)));
  const tokens = await Promise.all(services.flatMap(({ keeper }) => [keeper.current(), keeper.refresh('at-old')]));
  expect(tokens.filter((token) => token !== undefined)).toEqual(['at-new', 'at-new', 'at-new', 'at-new']);
  expect(services.flatMap(({ runs }) => runs)).toHaveLength(1);
});

test('a service that died in a refresh keeps no other from it', async () => {
  const child = fork(join(ROOT, 'test/fixtures/refreshing-process.ts'), [dataDir], { stdio: 'ignore' });
  await once(child, 'message');
  child.kill('SIGKILL');
  await writeFile(file, JSON.stringify(login('old', Date.now() + 1_000)));
  const { keeper, runs } = keeperWith(answers('new', Date.now() + HOUR));
  expect([await keeper.current(), runs.length]).toEqual(['at-new', 1]);
});
