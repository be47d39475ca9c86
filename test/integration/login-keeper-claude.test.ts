import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json, text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import type { RunCli } from '../../src/model-gateway/login-keeper.ts';
import { LoginKeeper } from '../../src/model-gateway/login-keeper.ts';
import { has } from '../support/capabilities.ts';
import { CLAUDE_BIN, claudeEnv } from '../support/run-claude.ts';

/*
 * The real CLI refreshes against a scripted login server: a CONNECT proxy on loopback (HTTPS_PROXY) leads every host
 * to one TLS server, whose certificate the CLI trusts through NODE_EXTRA_CA_CERTS.
 */

let directory = '';
let file = '';
let dataDir = '';
let ca = '';
const closing: (() => void)[] = [];
const seen: { call: string; refreshToken: unknown }[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cc-login-'));
  file = join(directory, 'credentials.json');
  dataDir = join(directory, 'data');
  await mkdir(dataDir);
  ca = join(directory, 'ca.pem');
  seen.length = 0;
});
afterEach(async () => {
  for (const close of closing.splice(0)) {
    close();
  }
  await rm(directory, { recursive: true });
});

type Answer = { status: number; body: unknown };

const run = promisify(execFile);
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

async function makeCertificate(): Promise<{ key: Buffer; cert: Buffer }> {
  const at = (name: string): string => join(directory, name);
  await writeFile(at('names'), 'subjectAltName=DNS:platform.claude.com,DNS:api.anthropic.com');
  await run('openssl', [
    'req',
    '-x509',
    ...KEY,
    '-keyout',
    at('ca.key'),
    '-out',
    ca,
    '-days',
    '2',
    '-subj',
    '/CN=test-ca',
  ]);
  await run('openssl', ['req', ...KEY, '-keyout', at('key'), '-out', at('csr'), '-subj', '/CN=platform.claude.com']);
  const sign = ['-CA', ca, '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2', '-extfile', at('names')];
  await run('openssl', ['x509', '-req', '-in', at('csr'), '-out', at('cert'), ...sign]);
  return { key: await readFile(at('key')), cert: await readFile(at('cert')) };
}

async function listen(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closing.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return z.object({ port: z.int() }).parse(server.address()).port;
}

/** Starts the login server and the proxy in front of it; resolves with the proxy's URL. */
async function startLoginServer(token: () => Answer): Promise<string> {
  const server = createTlsServer(await makeCertificate(), async (request, response) => {
    const call = `${request.method} ${request.headers.host}${request.url}`;
    const isToken = call === 'POST platform.claude.com/v1/oauth/token';
    const body = isToken ? z.looseObject({}).parse(await json(request)) : {};
    seen.push({ call, refreshToken: body.refresh_token });
    const { status, body: answer } = isToken ? token() : { status: 200, body: { account: {}, organization: {} } };
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  const port = await listen(server);
  const proxy = createServer((_request, response) => response.writeHead(502).end());
  proxy.on('connect', (_request, socket, head) => {
    const upstream = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.write(head);
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
    closing.push(() => upstream.destroy());
  });
  return `http://127.0.0.1:${await listen(proxy)}`;
}

function realCli(proxy: string): { runCli: RunCli; runs: string[] } {
  const runs: string[] = [];
  const runCli: RunCli = async (args, env, input, signal) => {
    runs.push(args.join(' '));
    const clean = claudeEnv(z.string().parse(env.HOME));
    const child = spawn(CLAUDE_BIN, args, {
      env: { ...clean, ...env, HTTPS_PROXY: proxy, NODE_EXTRA_CA_CERTS: ca },
      cwd: env.HOME,
      signal,
    });
    child.stdin.end(input);
    child.stdout.resume();
    const [stderr] = await Promise.all([text(child.stderr), once(child, 'close')]);
    return { exitCode: child.exitCode, stderr };
  };
  return { runCli, runs };
}

const tokens = (name: string): Answer => ({
  status: 200,
  body: {
    access_token: `sk-ant-oat01-${name}`,
    refresh_token: `sk-ant-ort01-${name}`,
    expires_in: 28_800,
    scope: 'user:inference',
  },
});

async function writeLogin(expiresAt: number): Promise<string> {
  const login = { accessToken: 'sk-ant-oat01-old', refreshToken: 'sk-ant-ort01-old', expiresAt };
  const whole = JSON.stringify({
    claudeAiOauth: {
      ...login,
      scopes: ['user:inference', 'user:profile'],
      subscriptionType: 'max',
      rateLimitTier: 't',
    },
  });
  await writeFile(file, whole, { mode: 0o600 });
  return whole;
}

test.runIf(has('openssl'))(
  'the real CLI refreshes an expired login on a copy, once, and the operator file gets the new one',
  async () => {
    await writeLogin(Date.now() - 1000);
    const proxy = await startLoginServer(() => tokens('new'));
    const { runCli, runs } = realCli(proxy);
    const keeper = new LoginKeeper({ file, dataDir, runCli });
    expect(await Promise.all([keeper.current(), keeper.current(), keeper.current()])).toEqual(
      Array(3).fill('sk-ant-oat01-new'),
    );
    expect(runs).toHaveLength(1);
    expect(seen.filter((one) => one.refreshToken !== undefined)).toEqual([
      { call: 'POST platform.claude.com/v1/oauth/token', refreshToken: 'sk-ant-ort01-old' },
    ]);
    expect(seen.some((one) => one.call.includes('/v1/messages'))).toBe(false);
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({
      claudeAiOauth: { accessToken: 'sk-ant-oat01-new', refreshToken: 'sk-ant-ort01-new', subscriptionType: 'max' },
    });
    expect(keeper.validUntil).toBeDefined();
    expect(await readdir(dataDir)).toEqual(['login-refresh.lock']);
  },
);

test.runIf(has('openssl'))(
  'the real CLI refreshes a login with time left when the API has refused its token',
  async () => {
    await writeLogin(Date.now() + 3_600_000);
    const { runCli } = realCli(await startLoginServer(() => tokens('new')));
    const keeper = new LoginKeeper({ file, dataDir, runCli });
    expect(await keeper.current()).toBe('sk-ant-oat01-old');
    await keeper.refresh('sk-ant-oat01-old');
    expect(await keeper.current()).toBe('sk-ant-oat01-new');
  },
);

test.runIf(has('openssl'))('a refresh that the login server refuses leaves the operator file as it was', async () => {
  const before = await writeLogin(Date.now() - 1000);
  const refusal = {
    status: 400,
    body: { error: 'invalid_grant', error_description: 'Refresh token not found or invalid' },
  };
  const { runCli } = realCli(await startLoginServer(() => refusal));
  const keeper = new LoginKeeper({ file, dataDir, runCli });
  await expect(keeper.current()).rejects.toThrow(/refused.*\/login/);
  expect(await readFile(file, 'utf8')).toBe(before);
  expect(await readdir(dataDir)).toEqual(['login-refresh.lock']);
});

test.runIf(has('openssl'))(
  'a login server out of reach leaves everything as it was, and a token that still works is used',
  async () => {
    const before = await writeLogin(Date.now() + 60_000);
    await makeCertificate();
    const { runCli } = realCli('http://127.0.0.1:9');
    const keeper = new LoginKeeper({ file, dataDir, runCli });
    expect(await keeper.current()).toBe('sk-ant-oat01-old');
    await expect(keeper.refresh('sk-ant-oat01-old')).rejects.toThrow('did not answer');
    expect(await readFile(file, 'utf8')).toBe(before);
  },
);
