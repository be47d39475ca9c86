import { expect, test } from 'vitest';
import { DEFAULT_LIMITS, LAUNCHER_PATH, launcherArguments } from '../../src/isolation/launcher-arguments.ts';

const command = { file: '/opt/claude', args: ['--model', 'opus', '--'] };

test('the arguments hold the parent, every limit and the command behind a double dash', () => {
  expect(launcherArguments({ parentPid: 42, limits: DEFAULT_LIMITS, command })).toEqual([
    LAUNCHER_PATH,
    ...['--parent', '42', '--limit', 'core=0', '--limit', 'fsize=2147483648', '--limit', 'msgqueue=0'],
    ...['--limit', 'memlock=65536', '--limit', 'nofile=1024', '--', '/opt/claude', '--model', 'opus', '--'],
  ]);
});

test('an identity and the limits that go with it are passed on', () => {
  const limits = { ...DEFAULT_LIMITS, cpuSeconds: 3600, processes: 512 };
  const argv = launcherArguments({ parentPid: 42, identity: { uid: 1001, gid: 1002 }, limits, command });
  expect(argv.slice(1, 7)).toEqual(['--parent', '42', '--uid', '1001', '--gid', '1002']);
  expect(argv).toEqual(expect.arrayContaining(['cpu=3600', 'nproc=512']));
});
