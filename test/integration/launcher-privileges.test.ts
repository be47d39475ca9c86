import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { type LaunchedProcess, type LaunchOptions, launch } from '../../src/isolation/launcher.ts';
import { has } from '../support/capabilities.ts';
import { newMark, statusField, temporaryFolder } from '../support/processes.ts';

const running: LaunchedProcess[] = [];
const identity = { uid: 65_534, gid: 65_533 };

function start(script: string, options: Partial<LaunchOptions> = {}): LaunchedProcess {
  const env = { PATH: process.env.PATH ?? '' };
  const launched = launch({ ...options, command: { file: '/bin/sh', args: ['-c', script], env, cwd: '/' } });
  running.push(launched);
  return launched;
}

afterEach(async () => {
  for (const launched of running.splice(0)) {
    launched.kill();
    await launched.exited;
  }
});

describe('resource limits', () => {
  test('are applied, soft and hard alike', async () => {
    const limits = { fileBytes: 1024 * 1024, openFiles: 100, cpuSeconds: 77 };
    const output = await text(start('cat /proc/self/limits', { limits }).stdout);
    const value = (name: string): string | undefined =>
      new RegExp(`^${name} +(\\d+ +\\d+)`, 'm').exec(output)?.[1]?.replace(/ +/, ' ');
    expect({
      core: value('Max core file size'),
      file: value('Max file size'),
      open: value('Max open files'),
      cpu: value('Max cpu time'),
      queue: value('Max msgqueue size'),
      locked: value('Max locked memory'),
    }).toEqual({
      core: '0 0',
      file: '1048576 1048576',
      open: '100 100',
      cpu: '77 77',
      queue: '0 0',
      locked: '65536 65536',
    });
    expect(output).toMatch(/^Max address space +unlimited +unlimited/m);
  });

  test('end a command that writes a larger file than it may', async () => {
    await using folder = await temporaryFolder();
    const script = `exec head -c 100000 /dev/zero > ${folder.path}/file`;
    expect((await start(script, { limits: { fileBytes: 4096 } }).exited).signal).toBe('SIGXFSZ');
  });
});

describe('privileges', () => {
  test('no run can gain any', async () => {
    const launched = start(`exec sleep ${newMark()}`);
    expect(statusField(await launched.cliPid, 'NoNewPrivs')).toBe('1');
  });

  test.runIf(has('root'))('the command runs as the given user, without groups or capabilities (root)', async () => {
    const launched = start(`exec sleep ${newMark()}`, { identity, limits: { processes: 100 } });
    const pid = await launched.cliPid;
    const fields = ['Uid', 'Gid', 'Groups', 'NoNewPrivs', 'CapInh', 'CapPrm', 'CapEff', 'CapAmb'];
    expect(fields.map((name) => statusField(pid, name))).toEqual([
      ...['65534 65534 65534 65534', '65533 65533 65533 65533', '', '1'],
      ...new Array(4).fill('0000000000000000'),
    ]);
    expect(statusField(launched.pid ?? 0, 'Uid')).toBe('0 0 0 0');
  });

  test.runIf(has('root'))('the groups of the service do not reach the command (root)', async () => {
    const before = process.getgroups?.() ?? [];
    process.setgroups?.([0, 4]);
    try {
      const launched = start(`exec sleep ${newMark()}`, { identity });
      expect(statusField(launched.pid ?? 0, 'Groups')).toBe('0 4');
      expect(statusField(await launched.cliPid, 'Groups')).toBe('');
    } finally {
      process.setgroups?.(before);
    }
  });

  test.runIf(has('root'))('a dropped run can neither signal nor read its launcher (root)', async () => {
    const quiet = '>/dev/null 2>&1';
    const script = `kill -9 $PPID ${quiet}; a=$?; cat /proc/$PPID/environ ${quiet}; b=$?; ls /proc/$PPID/fd ${quiet}; echo $a $b $?`;
    const launched = start(script, { identity });
    expect(await text(launched.stdout)).toBe('1 1 2\n');
    expect((await launched.exited).failure).toBeNull();
  });

  test.runIf(has('unprivileged'))(
    'another user is refused to a service that may not change users (not root)',
    async () => {
      const { failure } = await start('exit 0', { identity }).exited;
      expect(failure?.message).toContain('setgroups: Operation not permitted');
    },
  );
});
