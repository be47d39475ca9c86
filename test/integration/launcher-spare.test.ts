import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type LaunchedProcess, launch } from '../../src/isolation/launcher.ts';
import { SpareLauncher } from '../../src/isolation/spare-launcher.ts';
import { has } from '../support/capabilities.ts';
import { descendantsOf, isAlive, newMark, stateOf, waitUntil, withArgument } from '../support/processes.ts';

// promise: P4
let spare: SpareLauncher;

beforeEach(async () => {
  spare = new SpareLauncher();
  expect(spare.take()).toBeUndefined();
  await ready();
});
afterEach(() => spare.close());

/** A launcher waits below this process, asleep in its read. */
const waiting = (): number[] =>
  withArgument('--wait').filter((pid) => stateOf(pid) === 'S' && descendantsOf(process.pid).includes(pid));
const ready = (): Promise<number[]> =>
  waitUntil('a launcher waits', () => (waiting().length > 0 ? waiting() : undefined));

function start(
  file: string,
  args: string[],
  more: Partial<Parameters<typeof launch>[0]> & { cwd?: string; env?: Record<string, string> } = {},
): LaunchedProcess {
  const { cwd = '/', env = {}, ...options } = more;
  return launch({ command: { file, args, env, cwd }, spare, ...options });
}

async function outputOf({ stdout, exited }: LaunchedProcess): Promise<string> {
  let output = '';
  stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  await exited;
  return output;
}

it('a launcher that waited runs the command with exactly its arguments, environment and folder', async () => {
  const [pid] = await ready();
  const env = { A: 'x=y', EMPTY: '', LONG: 'ä'.repeat(40_000), LINES: 'one\ntwo' };
  const script =
    'pwd; echo "$A|$EMPTY|$(printf %s "$LONG" | /usr/bin/wc -c)|$LINES|$1|$2"; env | cut -d= -f1 | sort | tr "\\n" " "';
  const run = start('/bin/sh', ['-c', script, 'sh', 'two words', 'ünï'], { env, cwd: '/usr' });
  expect(run.pid).toBe(pid);
  const output = await outputOf(run);
  expect(output).toContain('/usr\nx=y||80000|one\ntwo|two words|ünï\n');
  expect(output.split('\n').at(-1)).not.toMatch(/PATH|HOME|PERL/);
  expect(await run.exited).toMatchObject({ exitCode: 0, signal: null, failure: null });
});

it('exit codes, signals and failures are those of a launcher that did not wait', async () => {
  expect(await start('/bin/sh', ['-c', 'exit 7']).exited).toMatchObject({ exitCode: 7 });
  await ready();
  expect(await start('/bin/sh', ['-c', 'kill -9 $$']).exited).toMatchObject({ signal: 'SIGKILL' });
  await ready();
  expect((await start('/no/such/claude', []).exited).failure?.reason).toBe('cli_missing');
  await ready();
  expect((await start('/bin/sh', [], { cwd: '/no/such/folder' }).exited).failure?.reason).toBe('cwd_unusable');
});

it('pause, resume and kill reach the whole family', async () => {
  const mark = newMark();
  const run = start('/bin/sh', ['-c', `setsid sleep ${mark} & env -i setsid sleep ${mark} & sleep ${mark}; true`]);
  await waitUntil('the family runs', () => withArgument(mark).length >= 3);
  expect(await run.pause()).toBe(true);
  expect(
    withArgument(mark)
      .map(stateOf)
      .filter((state) => state !== 'T'),
  ).toEqual([]);
  expect(await run.resume()).toBe(true);
  run.kill();
  expect((await run.exited).left).toBe(0);
  expect(withArgument(mark)).toEqual([]);
});

it.runIf(has('root'))('a command of a waiting launcher drops to its user', async () => {
  const run = start('/bin/sh', ['-c', 'id -u; id -g; id -G'], { identity: { uid: 65_534, gid: 65_534 } });
  expect((await outputOf(run)).trim().split(/\s+/)).toEqual(['65534', '65534', '65534']);
});

it('a launcher that waits ends when it is no longer needed', async () => {
  const pids = await ready();
  spare.close();
  await waitUntil('it is gone', () => pids.every((pid) => !isAlive(pid)));
});

it('a launcher that was killed while it waited is not used', async () => {
  const [pid = 0] = await ready();
  process.kill(pid, 'SIGKILL');
  await waitUntil('it is reaped', () => stateOf(pid) === undefined);
  expect(await start('/bin/sh', ['-c', 'exit 3']).exited).toMatchObject({ exitCode: 3 });
});

it('kill -9 of the process that made it ends a launcher that waits', async () => {
  const program = `import { SpareLauncher } from ${JSON.stringify(fileURLToPath(new URL('../../src/isolation/spare-launcher.ts', import.meta.url)))};
    new SpareLauncher().take(); setInterval(() => {}, 1000);`;
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
  const below = (): number[] => withArgument('--wait').filter((pid) => descendantsOf(child.pid ?? 0).includes(pid));
  const [pid = 0] = await waitUntil('its launcher waits', () => (below().length > 0 ? below() : undefined));
  child.kill('SIGKILL');
  await once(child, 'exit');
  await waitUntil('it is gone', () => !isAlive(pid));
});
