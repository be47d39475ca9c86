// promise: P4, P5
import { readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { enclose } from '../../src/isolation/box.ts';
import { type BoxSite, boxNames, boxSite } from '../support/boxes.ts';
import { has } from '../support/capabilities.ts';
import { isAlive, newMark, stateOf, waitUntil, withArgument } from '../support/processes.ts';

let site: BoxSite;

beforeAll(async () => {
  site = await boxSite();
});

afterAll(() => site[Symbol.asyncDispose]());

const QUIET = { failure: null, swept: 0, left: 0 };

describe.each(boxNames)('a command in a box of %s', (name) => {
  test('passes exit codes through', async () => {
    for (const exitCode of [0, 7, 125, 127, 143, 255]) {
      expect(await site.shell(name, `exit ${exitCode}`).exited).toEqual({ ...QUIET, exitCode, signal: null });
    }
  });

  test('passes a death by signal through, and tells it from an exit code', async () => {
    for (const signal of ['SIGKILL', 'SIGTERM', 'SIGSEGV']) {
      const report = await site.shell(name, `kill -${signal.slice(3)} $$`).exited;
      expect(report).toEqual({ ...QUIET, exitCode: null, signal });
    }
  });

  test('gets terminate, and interrupt', async () => {
    const script = 'trap "exit 9" TERM; trap "exit 8" INT; echo ready; while :; do sleep 0.01; done';
    for (const [act, exitCode] of [
      ['terminate', 9],
      ['interrupt', 8],
    ] as const) {
      const run = site.shell(name, script);
      await waitUntil('the traps', () => run.stdout.read());
      run[act]();
      expect((await run.exited).exitCode).toBe(exitCode);
    }
  });

  test('is stopped with all its children by pause, and goes on with resume', async () => {
    const mark = newMark();
    const run = site.shell(name, `setsid sleep ${mark} & sleep ${mark} & while :; do echo on; sleep 0.01; done`);
    await waitUntil('all of it', () => withArgument(mark).length >= 2 && run.stdout.read());
    const family = [...withArgument(mark), await run.cliPid];
    expect(await run.pause()).toBe(true);
    // A shell that waits for its stopped child to reach exec is in vfork, which shows as D.
    expect(family.map(stateOf).filter((state) => state !== 'T' && state !== 'D')).toEqual([]);
    run.stdout.read();
    expect(await run.resume()).toBe(true);
    await waitUntil('words again', () => run.stdout.read());
    expect(family.map(stateOf)).not.toContain('T');
  });

  test('is named by the pid that the system knows it by', async () => {
    const run = site.start(name, '/bin/sleep', [newMark()]);
    expect(readFileSync(`/proc/${await run.cliPid}/comm`, 'utf8')).toBe('sleep\n');
  });

  test('ends with every daemon it started, whether it exits, is killed, or its launcher is', async () => {
    const daemons = (mark: string, rest: string): string =>
      `setsid sh -c "(sleep ${mark} &)" ; nohup setsid env -i sleep ${mark} >/dev/null 2>&1 & ${rest}`;
    const mark = newMark();
    const run = site.shell(name, daemons(mark, `until [ "$(ls | wc -l)" -gt 0 ]; do sleep 0.01; done`));
    await waitUntil('the daemons', () => withArgument(mark).length === 2);
    await writeFile(join(site.workspace, 'go'), '');
    expect(await run.exited).toMatchObject({ exitCode: 0, failure: null, left: 0 });
    await rm(join(site.workspace, 'go'));
    expect(withArgument(mark)).toEqual([]);

    const killed = site.shell(name, daemons(mark, 'sleep 100'));
    await waitUntil('the daemons', () => withArgument(mark).length === 2);
    killed.kill();
    expect(await killed.exited).toMatchObject({ exitCode: null, signal: 'SIGKILL', left: 0 });
    expect(withArgument(mark)).toEqual([]);
  });

  test('that does not exist, or may not be executed, is a failure with its reason', async () => {
    expect((await site.start(name, '/usr/nowhere/claude', []).exited).failure).toEqual({
      reason: 'cli_missing',
      message: '/usr/nowhere/claude: No such file or directory',
    });
    const failure = (await site.start(name, '/etc/passwd', []).exited).failure;
    expect(failure).toEqual({ reason: 'not_executable', message: '/etc/passwd: Permission denied' });
  });

  test('has closed its output when its output is closed, whatever stands around it', async () => {
    const run = site.shell(name, `echo said; exec sleep ${newMark()} >&- 2>&-`);
    let ended = false;
    run.stdout.resume().on('end', () => {
      ended = true;
    });
    await waitUntil('the end of its output', () => ended);
    expect(isAlive(await run.cliPid)).toBe(true);
  });
});

describe('a sandbox', () => {
  test.runIf(has('bubblewrap'))('takes everything with it when its launcher is killed', async () => {
    const mark = newMark();
    const run = site.shell('L3', `setsid env -i sleep ${mark} & sleep ${mark}`);
    await waitUntil('both', () => withArgument(mark).length === 2);
    process.kill(run.pid ?? 0, 'SIGKILL');
    expect((await run.exited).failure?.reason).toBe('launcher_died');
    await waitUntil('nothing left', () => withArgument(mark).length === 0);
  });

  test.runIf(has('bubblewrap'))('that cannot be made is a failure, and the command does not run', async () => {
    const mark = join(site.workspace, 'ran');
    const place = { ...site.place('L3'), writable: [site.workspace, join(site.folder, 'nowhere')] };
    const command = { file: '/bin/touch', args: [mark], env: {}, cwd: site.workspace };
    const run = site.start('L1', '/bin/true', [], enclose(site.box('L3'), place, command));
    let said = '';
    run.stderr.on('data', (text) => {
      said += text;
    });
    const { failure } = await run.exited;
    expect(failure).toEqual({
      reason: 'box_failed',
      message: 'the box could not be made: /usr/bin/bwrap ended with 1',
    });
    expect(said).toContain('nowhere');
    expect(() => readFileSync(mark)).toThrow('ENOENT');
  });

  test.runIf(has('bubblewrap'))('does not believe what a command says of its own end', async () => {
    const forged = 'for fd in /proc/1/fd/3 /proc/$PPID/fd/3 /proc/self/fd/3; do echo "exited 0" > $fd; done; exit 7';
    expect((await site.shell('L3', forged).exited).exitCode).toBe(7);
  });

  test.runIf(has('socat'))('leads to the egress socket by a port of its own loopback', async () => {
    const place = site.place('L3');
    const command = {
      file: '/usr/bin/perl',
      args: [
        '-MIO::Socket::INET',
        '-e',
        'my $s = IO::Socket::INET->new("127.0.0.1:3128") or die; print $s "GET / HTTP/1.0\\r\\n\\r\\n"; print <$s>',
      ],
      env: { PATH: '/usr/bin' },
      cwd: site.workspace,
    };
    const run = site.start(
      'L1',
      '/bin/true',
      [],
      enclose(site.box('L3'), { ...place, egress: place.gateway }, command),
    );
    let said = '';
    run.stdout.on('data', (text) => {
      said += text;
    });
    expect(await run.exited).toMatchObject({ exitCode: 0 });
    expect(said).toMatch(/^HTTP\/1\.1 200 OK.*gateway$/s);
  });
});
