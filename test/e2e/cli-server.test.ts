import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { waitUntil } from '../support/processes.ts';
import { type Machine, machine, type Running } from '../support/program.ts';

const slow = (count: number) => ({ kind: 'deltas' as const, count, text: 'word ', deltaEveryMs: 20 });
const ENDLESS = slow(3000);

interface Served extends Machine {
  server: Running;
  url: string;
  /** Starts it again, on the same port. */
  serveAgain(): Promise<Running>;
}

/** A machine with a server that serves its data folder. */
async function served(script?: Parameters<typeof machine>[0]): Promise<Served> {
  const at = await machine(script);
  const serve = async (port: string): Promise<{ server: Running; url: string }> => {
    const server = at.start(['serve', '--port', port], { env: { CC_DRAIN_MS: '100' } });
    await waitUntil('it listens', () => server.said().stderr.includes('listens on'));
    const { url } = JSON.parse(await readFile(join(at.folder, 'data', 'server.json'), 'utf8'));
    return { server, url };
  };
  const first = await serve('0');
  return { ...at, ...first, serveAgain: async () => (await serve(new URL(first.url).port)).server };
}

async function keyOf({ folder }: Machine): Promise<string> {
  return (await readFile(join(folder, 'data', 'key'), 'utf8')).trim();
}

it('run, list, show and watch find the server of their data folder, and say where they work', async () => {
  const { run, url } = await served();
  const ran = await run(['run', 'hi']);
  expect(ran.stdout).toBe('Hello\n');
  expect(ran.stderr).toContain(`on ${url}, in a fresh workspace there (--dir . works in this folder instead)\n`);
  expect(ran.code).toBe(0);
  const { executions } = JSON.parse((await run(['list', '--json'])).stdout);
  expect(executions).toMatchObject([{ outcome: { kind: 'succeeded' } }]);
  expect(executions[0].workspace).not.toMatch(/^local:/);
  expect((await run(['list'])).stdout).toMatch(/succeeded .* hi\n/);
  expect((await run(['show', 'last'])).stdout).toContain(`events on ${url}; read it with`);
  const watched = await run(['watch', 'last', '--json']);
  expect(
    watched.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).seq),
  ).toEqual(Array.from({ length: executions[0].lastSeq }, (_, index) => index + 1));
  expect(watched.code).toBe(0);
});

it('run --json prints the events of the server, and nothing beside them', async () => {
  const { run } = await served();
  const ran = await run(['run', 'hi', '--json']);
  expect(ran.stderr).toBe('');
  expect((await run(['watch', 'last', '--json'])).stdout).toBe(ran.stdout);
});

it('--dir works in this folder without the server, and refuses to be told of one', async () => {
  const { run, url, work } = await served();
  const ran = await run(['run', 'hi', '--dir', '.']);
  expect(ran.stderr).not.toContain('in a fresh workspace there');
  expect(ran.code).toBe(0);
  const { executions } = JSON.parse((await run(['list', '--json'])).stdout);
  expect(executions[0].workspace).toBe(`local:${work}`);
  const both = await run(['run', 'hi', '--dir', '.', '--url', url]);
  expect(both.stderr).toMatch(/--dir.* cannot be used with option.*--url/);
  expect(both.code).toBe(2);
});

it('an execution is paused, resumed, given more to do, cancelled and deleted', async () => {
  const { run, start } = await served([ENDLESS]);
  const running = start(['run', 'hi']);
  await waitUntil('it writes', () => running.said().stdout.includes('word'));
  const paused = await run(['pause', 'last']);
  expect(paused.stdout).toMatch(/^[0-9a-f-]{36} {2}paused\n$/);
  expect((await run(['resume', 'last', '--json'])).stdout).toContain('"state": "running"');
  const input = await run(['input', 'last', 'and more']);
  expect(input.stdout).toMatch(/ {2}running\n$/);
  expect((await run(['delete', 'last'])).code).toBe(1);
  expect((await run(['cancel', 'last'])).stdout).toMatch(/ {2}(cancelling|cancelled)\n$/);
  const { code, stderr } = await running.ended;
  expect(stderr).toMatch(/paused\n.*resumed\n/s);
  expect(code).toBe(4);
  expect(await run(['pause', 'last'])).toMatchObject({ code: 1, stdout: '' });
  expect((await run(['delete', 'last'])).stdout).toMatch(/ {2}deleted\n$/);
  expect((await run(['show', 'last'])).code).toBe(2);
});

it('Ctrl-C cancels a run on the server; a second one leaves, and it is cancelled there all the same', async () => {
  const { run, start } = await served([ENDLESS]);
  const running = start(['run', 'hi']);
  await waitUntil('it writes', () => running.said().stdout.includes('word'));
  running.child.kill('SIGINT');
  await waitUntil('it cancels', () => running.said().stderr.includes('cancelling'));
  running.child.kill('SIGINT');
  expect((await running.ended).code).toBe(4);
  const watched = await run(['watch', 'last']);
  expect(watched.stderr).toContain('cancelled: cancelled_by_caller');
  expect(watched.code).toBe(4);
});

it('a watch outlives a server that is killed and started again, and prints every event once', async () => {
  const { run, start, server, serveAgain } = await served([ENDLESS]);
  const running = start(['run', 'hi', '-q']);
  const listed = async (): Promise<string> => (await run(['list', '--state', 'running'])).stdout;
  await waitUntil('it runs', async () => (await listed()).includes('running'));
  const watching = start(['watch', 'last', '--json']);
  await waitUntil('it is followed', () => watching.said().stdout.includes('claude.delta'));
  server.child.kill('SIGKILL');
  await waitUntil('it is missed', () => watching.said().stderr.includes('connection lost; trying again'));
  await serveAgain();
  const watched = await watching.ended;
  expect(watched.code).toBe(5);
  expect(watched.stdout).toBe((await run(['watch', 'last', '--json'])).stdout);
  expect(JSON.parse(watched.stdout.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({ type: 'execution.finished' });
  expect((await running.ended).code).toBe(5);
});

it('a server that is told to end takes its file with it, and tells readers how their runs ended', async () => {
  const { run, start, server, folder } = await served([ENDLESS]);
  const running = start(['run', 'hi']);
  await waitUntil('it writes', () => running.said().stdout.includes('word'));
  server.child.kill('SIGTERM');
  expect((await server.ended).code).toBe(0);
  await expect(readFile(join(folder, 'data', 'server.json'))).rejects.toMatchObject({ code: 'ENOENT' });
  running.child.kill('SIGKILL');
  expect((await run(['show', 'last'])).stdout).toContain('cancelled');
});

it('a key is needed, and keys reset makes another one', async () => {
  const at = await served();
  const { run, url } = at;
  const old = await keyOf(at);
  expect((await run(['list', '--url', url, '--key', 'wrong'])).code).toBe(2);
  const reset = await run(['keys', 'reset']);
  expect(reset.stdout).toBe(`${await keyOf(at)}\n`);
  expect(reset.stderr).toContain(join(at.folder, 'data', 'key'));
  expect((await run(['list', '--key', old])).code).toBe(2);
  expect((await run(['list', '--key', reset.stdout.trim()])).code).toBe(0);
  expect((await run(['list'])).code).toBe(0);
});

it('the key in the data folder is sent to this machine alone', async () => {
  const { run, url } = await served();
  const { port } = new URL(url);
  expect((await run(['list', '--url', `http://localhost:${port}`])).code).toBe(0);
  const elsewhere = await run(['list', '--url', `http://0.0.0.0:${port}`, '--json']);
  expect(JSON.parse(elsewhere.stderr)).toMatchObject({ code: 'unauthenticated' });
  expect(elsewhere.code).toBe(2);
});

it('CC_URL and CC_API_KEY name a server from a machine that has none', async () => {
  const at = await served();
  const elsewhere = await machine();
  const env = { CC_URL: at.url, CC_API_KEY: await keyOf(at) };
  const ran = await elsewhere.run(['run', 'hi'], { env });
  expect(ran.stdout).toBe('Hello\n');
  expect(ran.stderr).toContain(`on ${at.url}, `);
  expect((await at.run(['list'])).stdout).toMatch(/succeeded/);
  const told = await elsewhere.run(['run', 'hi', '--url', at.url, '--key', env.CC_API_KEY]);
  expect(told.stderr).toMatch(new RegExp(`read it back: .* show \\S+ --url ${at.url}\n`));
});

it('without a server, what needs one exits with 6 and says how to start it', async () => {
  const { run } = await machine();
  for (const args of [
    ['cancel', 'last'],
    ['pause', 'last'],
    ['resume', 'last'],
    ['input', 'last', 'x'],
    ['delete', 'x'],
  ]) {
    const { code, stderr } = await run(args);
    expect(stderr).toMatch(/No server serves .*; start one with .* serve/);
    expect(code).toBe(6);
  }
  expect((await run(['list'])).code).toBe(0);
});

it('a server that does not answer is exit code 6, with --json as JSON', async () => {
  const at = await served();
  at.server.child.kill('SIGKILL');
  await at.server.ended;
  const { code, stderr } = await at.run(['list', '--url', at.url, '--json']);
  expect(JSON.parse(stderr)).toMatchObject({ code: 'not_running', detail: expect.stringContaining(at.url) });
  expect(code).toBe(6);
  expect((await at.run(['list'])).code).toBe(0);
});
