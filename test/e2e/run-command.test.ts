import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { has } from '../support/capabilities.ts';
import { newMark, waitUntil, withArgument } from '../support/processes.ts';
import { machine } from '../support/program.ts';

const text = (words: string) => ({ kind: 'text' as const, text: words });
const slow = { kind: 'deltas' as const, count: 400, text: 'word ', deltaEveryMs: 20 };
const tool = (name: string, input: Record<string, unknown>) => ({
  kind: 'tool_use' as const,
  tools: [{ name, input }],
});

it('stdout holds the answer and nothing else; what happened is on stderr', async () => {
  const { run, work } = await machine([tool('Write', { file_path: 'a.txt', content: 'made' }), text('It is done.')]);
  const { code, stdout, stderr } = await run(['run', 'make it', '--allow', 'Write']);
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'It is done.\n' });
  expect(stderr).toMatch(/● Write {2}a\.txt/);
  expect(stderr).toMatch(/succeeded[\s\S]*cli\.js show/);
  expect(await readFile(join(work, 'a.txt'), 'utf8')).toBe('made');
});

it('--json prints every event once, as it is stored', async () => {
  const { run } = await machine([text('Hello')]);
  const { code, stdout } = await run(['run', '--json', 'hi']);
  const events = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(code).toBe(0);
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
  expect(events.at(-1)).toMatchObject({ type: 'execution.finished', data: { outcome: { kind: 'succeeded' } } });
  const watched = await run(['watch', '--json', events[0].executionId]);
  expect(watched.stdout).toBe(stdout);
});

it('--schema prints the structured answer alone', async () => {
  const { run, work } = await machine([{ kind: 'structured_output', output: { n: 3 } }, text('done')]);
  await writeFile(join(work, 's.json'), '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}');
  const { code, stdout } = await run(['run', 'count', '--schema', 's.json']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({ n: 3 });
});

it.each([
  ['an argument behind --', ['run', '-q', '--', '-v'], undefined, '-v'],
  ['stdin', ['run', '-q'], '/clear\n', '/clear'],
  ['stdin by a dash', ['run', '-q', '-'], '@/etc/passwd', '@/etc/passwd'],
  ['stdin in front of an argument', ['run', '-q', 'review'], 'the diff', 'the diff\\nreview'],
])('the prompt comes literally from %s', async (_title, args, input, expected) => {
  const { run, model } = await machine([text('Hello')]);
  const { code, stdout } = await run(args, input === undefined ? {} : { input });
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'Hello\n' });
  const sent = JSON.stringify(model.requests[0]?.body);
  expect(sent).toContain(`"text":"${expected}"`);
  expect(sent).not.toContain('root:x:0');
});

it('a prompt file may be long, and may start like an option', async () => {
  const { run, model, work } = await machine([text('Hello')]);
  await writeFile(join(work, 'p.txt'), `--help ${'long '.repeat(50_000)}`);
  expect((await run(['run', '-q', '-f', 'p.txt'])).code).toBe(0);
  expect(JSON.stringify(model.requests[0]?.body)).toContain('--help long long');
});

it.each([
  ['an empty prompt', ['run', ''], {}, 2, /prompt is empty/],
  ['nothing on stdin', ['run'], { input: '' }, 2, /prompt is empty/],
  ['a prompt over 4 MiB', ['run'], { input: 'x'.repeat(4 * 1024 * 1024 + 10) }, 2, /at most 4194304/],
  ['a NUL', ['run'], { input: 'a\0b' }, 2, /NUL character/],
  ['an unknown option', ['run', '--modle', 'x', 'hi'], {}, 2, /unknown option/],
  ['an unknown command', ['frobnicate'], {}, 2, /unknown command/],
  ['a schema that is missing', ['run', 'hi', '--schema', 'nope.json'], {}, 2, /cannot be read/],
  ['a model that is a flag', ['run', 'hi', '--model=--help'], {}, 2, /not a model name/],
  ['an unknown session', ['run', 'hi', '--session', '00000000-0000-4000-8000-000000000000'], {}, 2, /no session/],
  ['a directory that is missing', ['run', 'hi', '--dir', '/no/such'], {}, 2, /cannot be used/],
  ['an unknown execution', ['show', '00000000-0000-7000-8000-000000000000'], {}, 2, /no execution/],
  [
    'a wrong setting',
    ['list'],
    { env: { CC_QUEUE_LIMIT: 'many', CC_RUN_UID: '-1' } },
    2,
    /CC_RUN_UID[\s\S]*CC_QUEUE_LIMIT/,
  ],
  ['a data folder that is a file', ['list'], { env: { CC_DATA_DIR: '/etc/hostname' } }, 6, /hostname/],
  ['no credential', ['run', 'hi'], { env: { ANTHROPIC_API_KEY: '' } }, 1, /ANTHROPIC_API_KEY/],
  ['a claude that is missing', ['run', 'hi'], { env: { CLAUDE_BIN: '/no/claude' } }, 1, /correct CLAUDE_BIN/],
])('%s is refused with what to do', async (_title, args, options, code, words) => {
  const { run } = await machine();
  const ended = await run(args, options);
  expect(ended.stderr).toMatch(words);
  expect(ended.stderr).not.toMatch(/\n\s+at /);
  expect(ended.code).toBe(code);
});

it('a time limit exits 3, with the text so far', async () => {
  const { run } = await machine([slow]);
  const { code, stdout, stderr } = await run(['run', 'hi', '--time-limit', '2s']);
  expect(code).toBe(3);
  expect(stdout).toContain('word word');
  expect(stderr).toMatch(/timed_out/);
});

it('a failed run exits 1 and says why', async () => {
  const { run } = await machine([{ kind: 'http_error', status: 401, type: 'authentication_error' }]);
  const { code, stderr } = await run(['run', 'hi']);
  expect(code).toBe(1);
  expect(stderr).toMatch(/auth_failed[\s\S]*doctor/);
});

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s cancels, keeps everything, and exits 4', async (signal) => {
  const { start, run } = await machine([slow]);
  const running = start(['run', 'hi']);
  await waitUntil('it writes', () => running.said().stdout.includes('word'));
  running.child.kill(signal);
  const { code, stderr } = await running.ended;
  expect(code).toBe(4);
  expect(stderr).toMatch(/cancelling[\s\S]*cancelled_by_caller/);
  expect((await run(['show', 'last', '--text'])).stdout).toContain('word');
});

it('a second Ctrl-C leaves at once, and no process stays', async () => {
  const mark = newMark();
  const command = `trap '' TERM INT; setsid sleep ${mark} & sleep ${mark}`;
  const { start } = await machine([tool('Bash', { command, description: 'x' })]);
  const running = start(['run', 'hi', '--allow', 'Bash']);
  await waitUntil('the tool runs', () => withArgument(mark).length > 0);
  running.child.kill('SIGINT');
  await waitUntil('it says so', () => running.said().stderr.includes('once more'));
  running.child.kill('SIGINT');
  expect((await running.ended).code).toBe(4);
  await waitUntil('the tool is gone', () => withArgument(mark).length === 0);
});

it('a reader that goes away cancels the run, without a crash', async () => {
  const { start } = await machine([slow]);
  const running = start(['run', '--json', 'hi']);
  await waitUntil('it prints', () => running.said().stdout.length > 0);
  running.child.stdout?.destroy();
  const { code, stderr } = await running.ended;
  expect(code).toBe(4);
  expect(stderr).not.toMatch(/EPIPE/);
});

it.runIf(has('root'))('a normal user runs it too', async () => {
  const { run, work } = await machine([tool('Write', { file_path: 'a.txt', content: 'mine' }), text('ok')], 65_534);
  const { code, stderr } = await run(['run', 'hi', '--allow', 'Write'], { uid: 65_534 });
  expect(stderr).toContain('succeeded');
  expect(code).toBe(0);
  expect(await readFile(join(work, 'a.txt'), 'utf8')).toBe('mine');
});

it.runIf(has('root'))('a temporary folder that a tool locked does not keep the run from its end', async () => {
  const command = 'mkdir -p "$TMPDIR/a/b" && chmod 000 "$TMPDIR/a" && echo locked';
  const { run } = await machine([tool('Bash', { command, description: 'x' }), text('ok')], 65_534);
  const { code, stdout } = await run(['run', 'hi', '--allow', 'Bash'], { uid: 65_534 });
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'ok\n' });
});

it('a Max token works like an API key, and neither is in the run’s environment', async () => {
  const show = tool('Bash', { command: 'env; tr "\\0" "\\n" < /proc/$PPID/environ', description: 'x' });
  for (const env of [
    { ANTHROPIC_API_KEY: 'sk-ant-api03-canary' },
    { ANTHROPIC_API_KEY: '', CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-canary' },
  ]) {
    const { run, model } = await machine([show, text('ok')]);
    const { code, stdout } = await run(['run', '--json', 'hi', '--allow', 'Bash'], { env });
    expect(code).toBe(0);
    expect(stdout).toContain('CC_RUN_ID');
    expect(stdout).not.toContain('canary');
    expect(JSON.stringify(model.requests[0]?.headers)).toContain('canary');
  }
});
