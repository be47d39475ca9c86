import { readdirSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { type LaunchedProcess, type LaunchOptions, launch } from '../../src/isolation/launcher.ts';
import { has } from '../support/capabilities.ts';
import { newMark, temporaryFolder, waitUntil, withArgument } from '../support/processes.ts';

const running: LaunchedProcess[] = [];

function start(file: string, args: string[], options: Partial<LaunchOptions> & { cwd?: string } = {}): LaunchedProcess {
  const { cwd = '/', ...rest } = options;
  const launched = launch({ ...rest, command: { file, args, env: { PATH: process.env.PATH ?? '', A: 'b' }, cwd } });
  running.push(launched);
  return launched;
}

const shell = (script: string): LaunchedProcess => start('/bin/sh', ['-c', script]);

afterEach(async () => {
  for (const launched of running.splice(0)) {
    launched.kill();
    await launched.exited;
  }
});

describe('the end of the command', () => {
  test.each([0, 1, 7, 125, 126, 127, 255])('passes exit code %i through', async (code) => {
    const expected = { exitCode: code, signal: null, failure: null, swept: 0, left: 0 };
    expect(await shell(`exit ${code}`).exited).toEqual(expected);
  });

  test.each(['SIGKILL', 'SIGTERM', 'SIGSEGV', 'SIGABRT'])('passes %s through', async (signal) => {
    const report = await shell(`kill -${signal.slice(3)} $$`).exited;
    expect(report).toEqual({ exitCode: null, signal, failure: null, swept: 0, left: 0 });
  });

  test('terminate sends SIGTERM to the command', async () => {
    const launched = shell('trap "exit 9" TERM; echo ready; while :; do sleep 0.01; done');
    await waitUntil('the trap', () => launched.stdout.read());
    launched.terminate();
    expect((await launched.exited).exitCode).toBe(9);
  });

  test('interrupt sends SIGINT to the command', async () => {
    const launched = shell('trap "exit 8" INT; echo ready; while :; do sleep 0.01; done');
    await waitUntil('the trap', () => launched.stdout.read());
    launched.interrupt();
    expect((await launched.exited).exitCode).toBe(8);
  });

  test('children that end before the command are reaped', async () => {
    const mark = newMark();
    const launched = start('/bin/sh', ['-c', `(sh -c 'exit 0' &) ; (sh -c 'exit 0' &) ; exec sleep ${mark}`]);
    await waitUntil('the sleep', () => withArgument(mark).length === 1);
    await waitUntil('no zombie', async () => {
      const listed = start('/bin/ps', ['-o', 'stat=', '--ppid', String(launched.pid)]);
      return (await text(listed.stdout)).trim().startsWith('S');
    });
    expect(await launched.cliPid).toBe(withArgument(mark)[0]);
  });
});

describe('what the command gets', () => {
  test('its arguments as they are, its environment and nothing more', async () => {
    const args = ['', 'a b', '$HOME', '; exit 3', '--uid', 'é'];
    const script = 'console.log(JSON.stringify([process.argv.slice(1), Object.keys(process.env).sort()]))';
    const output = await text(start(process.execPath, ['-e', script, '--', ...args]).stdout);
    expect(JSON.parse(output)).toEqual([args, ['A', 'PATH']]);
  });

  test('stdin, stdout and stderr, and no other file descriptor', async () => {
    const launched = shell(`cat; echo err >&2; exec sleep ${newMark()}`);
    launched.stdin.end('in');
    expect(String(await waitUntil('stdin on stdout', () => launched.stdout.read()))).toBe('in');
    expect(String(await waitUntil('stderr', () => launched.stderr.read()))).toBe('err\n');
    const pid = await launched.cliPid;
    // The loader of the program that the shell became has its libraries open for a moment.
    await expect.poll(() => readdirSync(`/proc/${pid}/fd`)).toEqual(['0', '1', '2']);
  });

  test('its own process group in a session without a terminal, default signals and umask 077', async () => {
    const launched = shell('cat /proc/self/stat; grep -E "SigBlk|SigIgn" /proc/self/status; umask');
    const output = await text(launched.stdout);
    const [, group, session] = / \S \d+ (\d+) (\d+) /.exec(output) ?? [];
    expect([Number(group), Number(session)]).toEqual([await launched.cliPid, launched.pid]);
    expect(output).toMatch(/SigBlk:\t0+\nSigIgn:\t0+\n0077\n$/);
  });
});

describe('a start that fails', () => {
  test('says cli_missing for a program that does not exist, or that is not given as an absolute path', async () => {
    const message = '/nowhere/claude: No such file or directory';
    const launched = start('/nowhere/claude', []);
    await expect(launched.cliPid).rejects.toMatchObject({ failure: { reason: 'cli_missing', message } });
    expect((await launched.exited).failure).toEqual({ reason: 'cli_missing', message });
    expect((await start('claude', []).exited).failure?.reason).toBe('cli_missing');
  });

  test('says not_executable for a file without the right', async () => {
    expect((await start('/etc/passwd', []).exited).failure).toEqual({
      reason: 'not_executable',
      message: '/etc/passwd: Permission denied',
    });
  });

  test('says perl_missing and what to install', async () => {
    const failure = { reason: 'perl_missing', message: '/nowhere/perl does not exist; install perl-base' };
    const launched = start('/bin/true', [], { perl: '/nowhere/perl' });
    expect((await launched.exited).failure).toEqual(failure);
    expect([await launched.pause(), await text(launched.stdout)]).toEqual([false, '']);
  });

  test('says cwd_unusable for a working directory that does not exist', async () => {
    expect((await start('/bin/true', [], { cwd: '/nowhere' }).exited).failure?.reason).toBe('cwd_unusable');
  });

  test.runIf(has('root'))(
    'says cwd_unusable for a working directory that the dropped user cannot enter (root)',
    async () => {
      await using folder = await temporaryFolder();
      await chmod(folder.path, 0o755);
      await mkdir(join(folder.path, 'private'), { mode: 0o700 });
      const options = { cwd: join(folder.path, 'private'), identity: { uid: 65_534, gid: 65_534 } };
      const { failure } = await start('/bin/true', [], options).exited;
      expect(failure?.reason).toBe('cwd_unusable');
      expect(failure?.message).toContain('uid 65534 cannot enter the working directory');
    },
  );

  test('says other for arguments beyond what the system takes', async () => {
    const { failure } = await start('/bin/true', ['x'.repeat(200_000)]).exited;
    expect(failure).toEqual({ reason: 'other', message: 'The launcher could not be started: spawn E2BIG' });
  });

  test('refuses a limit on processes without a user of its own', async () => {
    const { failure } = await start('/bin/true', [], { limits: { processes: 10 } }).exited;
    expect(failure).toEqual({ reason: 'other', message: '--limit nproc needs --uid' });
  });

  test('throws when the environment would steer the launcher itself', () => {
    const env = { PERL5OPT: '-Mevil' };
    expect(() => launch({ command: { file: '/bin/true', args: [], env, cwd: '/' } })).toThrow('PERL5OPT steers');
  });

  test('says cli_missing for a script whose interpreter does not exist', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'claude');
    await writeFile(file, '#!/nowhere/interpreter\n', { mode: 0o755 });
    expect((await start(file, []).exited).failure?.reason).toBe('cli_missing');
  });
});
