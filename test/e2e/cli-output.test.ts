import { expect, it } from 'vitest';
import { has } from '../support/capabilities.ts';
import { heldPipe } from '../support/held-pipe.ts';
import { waitUntil } from '../support/processes.ts';
import { machine } from '../support/program.ts';

const text = (words: string) => ({ kind: 'text' as const, text: words });
const slow = { kind: 'deltas' as const, count: 400, text: 'word ', deltaEveryMs: 20 };
const ontoFullDisk = (command: string[]) => ['sh', '-c', 'exec "$0" "$@" > /dev/full', ...command];
const onTerminal = (command: string[]) => [
  'script',
  '-qefc',
  command.map((part) => `'${part}'`).join(' '),
  '/dev/null',
];

it('a reader that has seen enough of a list is no error', async () => {
  const { start, run } = await machine();
  await run(['run', 'hi']);
  const listing = start(['list']);
  listing.child.stdout?.destroy();
  const { code, stderr } = await listing.ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

it('a run whose stdout is full is cancelled, said and kept', async () => {
  const { run } = await machine([slow]);
  const { code, stderr } = await run(['run', 'hi'], { wrap: ontoFullDisk });
  expect(stderr).toMatch(/stdout takes no more \(ENOSPC\)/);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect(code).toBe(4);
  expect((await run(['show', 'last'])).stdout).toMatch(/cancelled_by_caller/);
});

it('a list that cannot be written fails', async () => {
  const { run } = await machine();
  const { code, stderr } = await run(['list', '--json'], { wrap: ontoFullDisk });
  expect(stderr).toMatch(/could not be written: .*ENOSPC/);
  expect(code).toBe(1);
});

it('a run goes on when nobody reads what it says beside the answer', async () => {
  const { start } = await machine();
  const running = start(['run', 'hi']);
  running.child.stderr?.destroy();
  expect(await running.ended).toMatchObject({ code: 0, stdout: 'Hello\n' });
});

it.each([
  ['an unknown option', ['run', '--json', '--modle', 'x'], {}, 2, 'invalid_request', /--modle/],
  ['a refused field', ['run', '--json', '--max-turns', '0', 'hi'], {}, 2, 'invalid_request', /--max-turns/],
  ['an unknown execution', ['show', '--json', 'ffffffff'], {}, 2, 'not_found', /ffffffff/],
  ['a wrong setting', ['list', '--json'], { env: { CC_QUEUE_LIMIT: 'x' } }, 2, 'invalid_request', /CC_QUEUE_LIMIT/],
  [
    'a data folder that is a file',
    ['list', '--json'],
    { env: { CC_DATA_DIR: '/etc/hostname' } },
    6,
    'data_folder_unusable',
    /hostname/,
  ],
])('with --json, %s is told as JSON', async (_title, args, options, code, name, words) => {
  const { run } = await machine();
  const ended = await run(args, options);
  const told = JSON.parse(ended.stderr);
  expect(told).toMatchObject({ code: name, title: expect.any(String) });
  expect(told.detail).toMatch(words);
  expect(ended).toMatchObject({ code, stdout: '' });
});

it('text that broke off is called void, and the whole answer follows', async () => {
  const broken = 'It breaks off behind these words, which go on for long enough';
  const { run } = await machine([{ kind: 'reset', text: broken, deltaEveryMs: 60 }, text('It holds.')]);
  const { code, stdout, stderr } = await run(['run', 'hi']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^It breaks.*\nIt holds\.\n$/);
  expect(stderr).toMatch(/what it said last is void/);
  expect((await run(['show', 'last', '--text'])).stdout).toBe('It holds.\n');
});

it('a tool that failed says why', async () => {
  const command = { command: 'echo broken >&2; exit 3', description: 'x' };
  const { run } = await machine([{ kind: 'tool_use', tools: [{ name: 'Bash', input: command }] }, text('So be it.')]);
  const { stderr } = await run(['run', 'hi', '--allow', 'Bash']);
  expect(stderr).toMatch(/● Bash {2}echo broken.*\n.*⎿ Bash failed: Exit code 3/);
});

it('--quiet is silent about a success and explains a failure', async () => {
  const fine = await machine();
  expect(await fine.run(['run', '-q', 'hi'])).toEqual({ code: 0, stdout: 'Hello\n', stderr: '' });
  const refused = await machine([{ kind: 'http_error', status: 401, type: 'authentication_error' }]);
  const { code, stderr } = await refused.run(['run', '-q', 'hi']);
  expect(stderr).toMatch(/auth_failed/);
  expect(code).toBe(1);
});

const evil = 'a\u001b]0;owned\u0007b\u001b[2Jc';

it('control characters of an answer reach a pipe as they are', async () => {
  const { run } = await machine([text(evil)]);
  expect((await run(['run', 'hi'])).stdout).toBe(`${evil}\n`);
});

it.runIf(has('pty'))('control characters of an answer do not reach a terminal', async () => {
  const { run } = await machine([text(evil)]);
  for (const args of [
    ['run', 'hi'],
    ['show', 'last', '--text'],
    ['show', 'last'],
  ]) {
    const { stdout } = await run(args, { wrap: onTerminal, env: { TERM: 'xterm' } });
    expect(stdout).toContain('a\ufffd]0;owned\ufffdb');
    expect(stdout).not.toContain('\u001b]0;');
    expect(stdout).not.toContain('\u001b[2J');
  }
});

it.runIf(has('pty'))('Ctrl-C on a terminal cancels the run, and NO_COLOR takes the colours away', async () => {
  const { start, folder } = await machine([slow]);
  const keys = await heldPipe(folder);
  const running = start(['run', 'hi'], {
    wrap: (command) => keys.asStdin(onTerminal(command)),
    env: { TERM: 'xterm', NO_COLOR: '1' },
  });
  await waitUntil('it writes', () => running.said().stdout.includes('word word'));
  await keys.write('\u0003');
  const { stdout } = await running.ended;
  expect(stdout).toMatch(/cancelling; once more to leave at once[\s\S]*cancelled: cancelled_by_caller/);
  expect(stdout).not.toMatch(/void/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours start with this character
  expect(stdout).not.toMatch(/\u001b\[\d+m/);
});
