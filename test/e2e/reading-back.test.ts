import { expect, it } from 'vitest';
import { has } from '../support/capabilities.ts';
import { waitUntil } from '../support/processes.ts';
import { machine } from '../support/program.ts';

const slow = { kind: 'deltas' as const, count: 60, text: 'word ', deltaEveryMs: 20 };

it('watch follows a run of another process to its end', async () => {
  const { start, run } = await machine([slow]);
  const running = start(['run', 'hi']);
  await waitUntil('it writes', () => running.said().stdout.includes('word'));
  const watched = await run(['watch', 'last']);
  const { code, stdout } = await running.ended;
  expect(code).toBe(0);
  expect({ code: watched.code, stdout: watched.stdout }).toEqual({ code: 0, stdout });
});

it('list and show tell runs of other processes while they run', async () => {
  const { start, run } = await machine([{ ...slow, count: 3 * slow.count }]);
  const running = start(['run', 'say words']);
  await waitUntil('it writes', () => running.said().stdout.includes('word'));
  const listed = JSON.parse((await run(['list', '--json'])).stdout);
  expect(listed.executions).toMatchObject([{ state: 'running' }]);
  const shown = JSON.parse((await run(['show', listed.executions[0].id.slice(0, 30), '--json'])).stdout);
  expect(shown.partialText).toContain('word');
  await running.ended;
  expect((await run(['list'])).stdout).toMatch(/succeeded.*say words/);
});

it('a second run in the same directory waits for the first, and says so', async () => {
  const { start } = await machine([{ ...slow, count: 150 }]);
  const first = start(['run', 'one']);
  await waitUntil('it writes', () => first.said().stdout.includes('word'));
  const second = start(['run', 'two']);
  await waitUntil('it says why it waits', () => second.said().stderr.includes('another run works in'));
  expect((await first.ended).code).toBe(0);
  expect((await second.ended).code).toBe(0);
});

it('two runs in two directories share one data folder', async () => {
  const { run, folder } = await machine();
  const [one, two] = await Promise.all([run(['run', 'a']), run(['run', 'b', '--fresh'], { cwd: folder })]);
  expect([one.code, two.code]).toEqual([0, 0]);
  expect(JSON.parse((await run(['list', '--json'])).stdout).executions).toHaveLength(2);
});

it('kill -9 of a run shows as lost to the next command', async () => {
  const { start, run } = await machine([{ ...slow, count: 1000 }]);
  const running = start(['run', 'hi']);
  await waitUntil('it writes', () => running.said().stdout.includes('word'));
  running.child.kill('SIGKILL');
  await running.ended;
  const shown = await run(['show', 'last']);
  expect(shown.stdout).toMatch(/lost: worker_lost/);
  expect(shown.stdout).toContain('word');
  expect((await run(['watch', 'last'])).code).toBe(5);
});

it('a session goes on from the command line', async () => {
  const { run, model } = await machine();
  await run(['run', 'remember blue']);
  const [{ sessionId }] = JSON.parse((await run(['list', '--json'])).stdout).executions;
  expect((await run(['run', 'which colour?', '--session', sessionId])).code).toBe(0);
  expect(JSON.stringify(model.requests.at(-1)?.body)).toContain('remember blue');
});

it('doctor finds what is wrong and how to repair it, and tries the credential', async () => {
  const good = await machine();
  const well = await good.run(['doctor', '--json']);
  const findings: { name: string; state: string; detail: string }[] = JSON.parse(well.stdout);
  expect(findings.filter(({ state }) => state === 'problem')).toEqual([]);
  expect(findings.find(({ name }) => name === 'credential')?.detail).toMatch(/accepts it/);
  expect(well.code).toBe(0);
  const ill = await good.run(['doctor'], {
    env: { CLAUDE_BIN: '/no/claude', ANTHROPIC_API_KEY: '', CC_DATA_DIR: '/etc/hostname' },
  });
  expect(ill.code).toBe(1);
  for (const words of ['/no/claude', 'ANTHROPIC_API_KEY', '/etc/hostname']) expect(ill.stdout).toContain(words);
  const offline = await good.run(['doctor', '--offline']);
  expect(offline.stdout).toContain('not tried');
  const refused = await good.run(['doctor'], { env: { ANTHROPIC_BASE_URL: 'http://127.0.0.1:9' } });
  expect(refused.stdout).toMatch(/could not be tried/);
});

it('the demo does a real task and leaves its files, with no credential at all', async () => {
  const { run } = await machine();
  const { code, stdout, stderr } = await run(['demo'], { env: { ANTHROPIC_API_KEY: '' } });
  expect(stderr).toMatch(/model is scripted/i);
  expect(stderr).toMatch(/result\.txt {2}\d+ B/);
  expect(stdout).toContain('from 0 to 34');
  expect(code).toBe(0);
});

it.runIf(has('pty'))('on a terminal there is a live status line, and Ctrl-C cancels', async () => {
  const { start } = await machine([{ kind: 'stall', when: 'after_headers' }]);
  const running = start(['run', 'hi'], {
    wrap: (command) => ['script', '-qefc', command.map((part) => `'${part}'`).join(' '), '/dev/null'],
    env: { TERM: 'xterm' },
  });
  await waitUntil('the status line is drawn', () => /s · .*waiting for the model/.test(running.said().stdout));
  running.child.kill('SIGTERM');
  await running.ended;
});

it('help names every command, with an example and the exit codes', async () => {
  const { run } = await machine();
  const help = await run(['--help']);
  for (const command of ['run', 'watch', 'list', 'show', 'doctor', 'demo'])
    expect(help.stdout).toContain(`  ${command}`);
  expect(help.stdout).toContain('Exit codes');
  expect((await run(['run', '--help'])).stdout).toContain('Examples:');
  expect((await run(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+ \(claude 2\.1\.330\)/);
});
