import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, it, onTestFinished } from 'vitest';
import { machine } from '../support/program.ts';

interface Found {
  name: string;
  state: string;
  detail: string;
  repair?: string;
}

async function doctor(setting: Record<string, string>, ...args: string[]) {
  const { run } = await machine();
  const { code, stdout, stderr } = await run(['doctor', '--json', ...args], { env: setting });
  const findings: Found[] = JSON.parse(stdout);
  return { code, stdout, stderr, of: (name: string) => findings.find((finding) => finding.name === name) };
}

it('a machine in order has every check, and no secret is printed', async () => {
  const { code, stdout, of } = await doctor({});
  for (const name of ['node', 'claude', 'storage', 'disk', 'credential', 'launcher', 'run user']) {
    expect([name, of(name)?.state]).toEqual([name, 'ok']);
  }
  expect(of('isolation')?.detail).toMatch(/L1/);
  expect(stdout).not.toContain('sk-ant-api03-test');
  expect(code).toBe(0);
});

it('wrong settings are findings, and help is there without them', async () => {
  const { code, of } = await doctor({ CC_QUEUE_LIMIT: 'many' });
  expect(of('settings')).toMatchObject({ state: 'problem', detail: expect.stringMatching(/CC_QUEUE_LIMIT/) });
  expect(code).toBe(1);
  const { run } = await machine();
  expect((await run(['run', '--help'], { env: { CC_QUEUE_LIMIT: 'many' } })).code).toBe(0);
});

it.each([
  [401, 'problem', /refuses it \(HTTP 401\)/],
  [403, 'problem', /refuses it \(HTTP 403\)/],
  [503, 'warn', /could not be tried: HTTP 503/],
])('a model API that answers %d to the credential makes it a %s', async (status, state, words) => {
  const server = createServer((_request, response) => response.writeHead(status).end()).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server listens on no port');
  const { code, of } = await doctor({ ANTHROPIC_BASE_URL: `http://127.0.0.1:${address.port}` });
  expect(of('credential')).toMatchObject({ state, detail: expect.stringMatching(words), repair: expect.any(String) });
  expect(code).toBe(state === 'problem' ? 1 : 0);
});

it('a lent workspace that is missing is a problem', async () => {
  const { code, of } = await doctor({ CC_WORKSPACES: 'docs=/no/such/folder' }, '--offline');
  expect(of('workspaces')).toMatchObject({ state: 'problem', repair: expect.stringMatching(/CC_WORKSPACES/) });
  expect(code).toBe(1);
});

it('an unusable data folder is a finding beside all the others', async () => {
  const { code, of } = await doctor({ CC_DATA_DIR: '/etc/hostname/data' }, '--offline');
  expect(of('storage')?.state).toBe('problem');
  expect(of('claude')?.state).toBe('ok');
  expect(of('launcher')?.state).toBe('ok');
  expect(code).toBe(1);
});

it('the demo ends when its data folder cannot be used', async () => {
  const { run } = await machine();
  const { code, stderr } = await run(['demo'], { env: { CC_DATA_DIR: '/etc/hostname' } });
  expect(stderr).toMatch(/data folder cannot be used/);
  expect(code).toBe(6);
});
