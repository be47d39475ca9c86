import { expect, it } from 'vitest';
import { waitUntil } from '../support/processes.ts';
import { machine } from '../support/program.ts';

const slow = { kind: 'deltas' as const, count: 400, text: 'word ', deltaEveryMs: 20 };

it('watch ends with the run it follows when the process of that run is killed', async () => {
  const { start } = await machine([slow]);
  const running = start(['run', 'hi']);
  await waitUntil('it writes', () => running.said().stdout.includes('word'));
  const watching = start(['watch', 'last']);
  await waitUntil('it is followed', () => watching.said().stdout.includes('word'));
  running.child.kill('SIGKILL');
  const { code, stderr } = await watching.ended;
  expect(stderr).toMatch(/lost: worker_lost/);
  expect(code).toBe(5);
});

it('Ctrl-C leaves a watch, and the run goes on', async () => {
  const { start } = await machine([{ ...slow, count: 150 }]);
  const running = start(['run', 'hi']);
  await waitUntil('it writes', () => running.said().stdout.includes('word'));
  const watching = start(['watch', 'last']);
  await waitUntil('it is followed', () => watching.said().stdout.includes('word'));
  watching.child.kill('SIGINT');
  expect((await watching.ended).code).toBe(0);
  expect((await running.ended).code).toBe(0);
});

it('watch --after shows the rest of a log, and refuses a cursor ahead of it', async () => {
  const { run } = await machine();
  await run(['run', 'hi']);
  const all = (await run(['watch', 'last', '--json'])).stdout.trimEnd().split('\n');
  const rest = await run(['watch', 'last', '--json', '--after', String(all.length - 2)]);
  expect(rest.stdout.trimEnd().split('\n')).toEqual(all.slice(-2));
  const ahead = await run(['watch', 'last', '--after', '5000']);
  expect(ahead.stderr).toMatch(/ahead of the log/);
  expect(ahead.code).toBe(2);
});

it('watch of a log that was cut says so and shows what is left', async () => {
  const { run } = await machine([{ kind: 'huge_text', bytes: 2_000_000 }]);
  expect((await run(['run', '-q', 'hi'])).code).toBe(0);
  await run(['list'], { env: { CC_RETENTION_BYTES: '1048576' } });
  const { code, stderr } = await run(['watch', 'last']);
  expect(stderr).toMatch(/the log before event \d+ is no longer kept/);
  expect(stderr).toMatch(/succeeded/);
  expect(code).toBe(0);
  expect((await run(['list'])).stdout).toMatch(/succeeded/);
});

it('list is filtered and read page by page', async () => {
  const { run } = await machine([
    { kind: 'text', text: 'ok' },
    { kind: 'http_error', status: 401 },
  ]);
  await run(['run', 'first']);
  await run(['run', 'second']);
  const failed = JSON.parse((await run(['list', '--outcome', 'failed', '--json'])).stdout);
  expect(failed.executions).toMatchObject([{ outcome: { reason: 'auth_failed' } }]);
  const page = JSON.parse((await run(['list', '-n', '1', '--json'])).stdout);
  const next = JSON.parse((await run(['list', '-n', '1', '--json', '--cursor', page.nextCursor])).stdout);
  expect(next.executions[0].id < page.executions[0].id).toBe(true);
  expect((await run(['list', '--state', 'running'])).stderr).toMatch(/There are none/);
  expect((await run(['list', '-n', '0'])).code).toBe(2);
  expect((await run(['list'])).stdout).toMatch(/auth_failed .* ago .* second\n.*succeeded .* ago .* first\n/);
});

it('show tells what was kept beside the answer', async () => {
  const { run } = await machine();
  await run(['run', 'the prompt', '--metadata', 'ticket=42']);
  const { stdout } = await run(['show', 'last']);
  expect(stdout).toMatch(/prompt +the prompt\n/);
  expect(stdout).toMatch(/metadata +ticket=42\n/);
  expect(stdout).toMatch(/log +\d+ events in /);
  expect((await run(['show', 'last', '--text'])).stdout).toBe('Hello\n');
  expect((await run(['show', 'abc'])).stderr).toMatch(/too short/);
});
