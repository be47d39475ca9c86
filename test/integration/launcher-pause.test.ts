import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type LaunchedProcess, launch } from '../../src/isolation/launcher.ts';
import { descendantsOf, newMark, stateOf, waitUntil, withArgument } from '../support/processes.ts';

let mark: string;
let launched: LaunchedProcess;

function start(file: string, args: string[]): LaunchedProcess {
  launched = launch({ command: { file, args, env: { PATH: process.env.PATH ?? '' }, cwd: '/' } });
  return launched;
}

const statesOf = (pid: number): (string | undefined)[] => descendantsOf(pid).map(stateOf);

beforeEach(() => {
  mark = newMark();
});

afterEach(async () => {
  launched.kill();
  await launched.exited;
});

describe('pause and resume', () => {
  test('pause stops the whole family, a child in another session too, and resume lets it go on', async () => {
    const count = 'i=0; while :; do i=$((i+1)); echo $0 $i; sleep 0.01; done';
    const run = start('/bin/sh', [
      '-c',
      `setsid sh -c '${count}' child & sleep ${mark} & exec sh -c '${count}' parent`,
    ]);
    let output = '';
    run.stdout.on('data', (chunk) => {
      output += chunk;
    });
    await waitUntil('both count', () => /child \d/.test(output) && /parent \d/.test(output));

    expect(await run.pause()).toBe(true);
    const stopped = statesOf(run.pid ?? 0);
    expect(stopped.length).toBeGreaterThanOrEqual(3);
    // A shell that waits for its stopped child to reach exec is in vfork, which shows as D.
    expect(stopped.filter((state) => state !== 'T' && state !== 'D')).toEqual([]);
    expect(stopped).toContain('T');
    const before = output.length;

    expect(await run.resume()).toBe(true);
    await waitUntil(
      'both count on',
      () => /child \d/.test(output.slice(before)) && /parent \d/.test(output.slice(before)),
    );
    expect(statesOf(run.pid ?? 0)).not.toContain('T');
  });

  test('pausing twice and resuming twice is answered each time', async () => {
    const run = start('/bin/sleep', [mark]);
    await run.cliPid;
    expect(await Promise.all([run.pause(), run.pause(), run.resume(), run.resume()])).toEqual([true, true, true, true]);
    expect(stateOf(await run.cliPid)).toBe('S');
  });

  test('a paused command gets terminate', async () => {
    const run = start('/bin/sleep', [mark]);
    await run.pause();
    run.terminate();
    expect(await run.exited).toEqual({ exitCode: null, signal: 'SIGTERM', failure: null, swept: 0, left: 0 });
  });

  test('pause answers false once the run has ended', async () => {
    const run = start('/bin/true', []);
    await run.exited;
    expect([await run.pause(), await run.resume()]).toEqual([false, false]);
  });
});

describe('a storm of forks', () => {
  // Each storm ends by itself after 20 seconds, should the launcher fail to end it.
  const STORMS = {
    'in one process group':
      'fork; fork; fork; while (time < $^T + 20) { my $p = fork; exit if $p; select undef, undef, undef, 0.0005 }',
    'in ever new sessions':
      'fork; fork; while (time < $^T + 20) { my $p = fork; exit if $p; POSIX::setsid(); select undef, undef, undef, 0.0005 }',
    'that grows':
      'my $n = 0; while (time < $^T + 20) { if ($n++ < 200) { fork } select undef, undef, undef, 0.3 if $n > 6 }',
  };

  test.each(Object.entries(STORMS))('%s is ended by kill', async (_name, storm) => {
    const run = start('/usr/bin/perl', [
      '-MPOSIX',
      '-e',
      `my $keep = fork; if (!$keep) { ${storm}; exit } sleep 20`,
      mark,
    ]);
    await waitUntil('the storm', () => withArgument(mark).length >= 4);
    run.kill();
    const report = await run.exited;
    expect(report).toMatchObject({ signal: 'SIGKILL', failure: null, left: 0 });
    expect(withArgument(mark)).toEqual([]);
  });

  test('is stopped by pause', async () => {
    const storm = STORMS['in one process group'];
    const run = start('/usr/bin/perl', ['-e', `my $keep = fork; if (!$keep) { ${storm}; exit } sleep 20`, mark]);
    await waitUntil('the storm', () => withArgument(mark).length >= 4);
    await run.pause();
    const family = descendantsOf(run.pid ?? 0);
    expect(new Set(family.map(stateOf))).toEqual(new Set(['T']));
    expect(descendantsOf(run.pid ?? 0)).toEqual(family);
  });
});
