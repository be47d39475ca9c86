import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CONFINE_PATH } from '../../src/isolation/system-paths.ts';
import { type BoxName, type BoxSite, boxSite } from '../support/boxes.ts';
import { has } from '../support/capabilities.ts';

const PROGRAM = fileURLToPath(new URL('../fixtures/try-calls.pl', import.meta.url));

/** What a command may do in a box, or the error it gets. `stat` outside at L2 is the gap that Landlock leaves. */
const ANSWERS: Record<string, readonly [strict: string, open: string, sandbox: string]> = {
  tcp: ['yes', 'yes', 'yes'],
  tcp6: ['yes', 'yes', 'yes'],
  udp: ['EAFNOSUPPORT', 'yes', 'yes'],
  mptcp: ['EAFNOSUPPORT', 'yes', 'yes'],
  unix: ['EAFNOSUPPORT', 'yes', 'yes'],
  netlink: ['EAFNOSUPPORT', 'yes', 'yes'],
  vsock: ['EAFNOSUPPORT', 'EAFNOSUPPORT', 'EAFNOSUPPORT'],
  'gateway port': ['yes', 'yes', 'ECONNREFUSED'],
  'another port': ['EACCES', 'yes', 'ECONNREFUSED'],
  'another port by mptcp': ['EAFNOSUPPORT', 'yes', 'ECONNREFUSED'],
  'fast open by sendto': ['EPERM', 'yes', 'ECONNREFUSED'],
  'fast open by sendmsg': ['EPERM', 'yes', 'ECONNREFUSED'],
  ptrace: ['EPERM', 'EPERM', 'EPERM'],
  process_vm_readv: ['EPERM', 'EPERM', 'EPERM'],
  keyctl: ['EPERM', 'EPERM', 'EPERM'],
  io_uring: ['ENOSYS', 'ENOSYS', 'ENOSYS'],
  'stat outside': ['yes', 'yes', 'ENOENT'],
  'open outside': ['EACCES', 'EACCES', 'ENOENT'],
  'listing of /': ['EACCES', 'EACCES', 'yes'],
  '/etc/shadow': ['EACCES', 'EACCES', 'ENOENT'],
  pipe: ['yes', 'yes', 'yes'],
  '/dev/null': ['yes', 'yes', 'yes'],
  '/dev/kmsg': ['EACCES', 'EACCES', 'ENOENT'],
};

let site: BoxSite;
const stranger = createServer((socket) =>
  socket
    .on('error', () => {})
    .resume()
    .end('secret'),
);

beforeAll(async () => {
  site = await boxSite([PROGRAM]);
  await writeFile(join(site.folder, 'secret'), 'secret');
  await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
});

afterAll(async () => {
  await site[Symbol.asyncDispose]();
  await new Promise((resolve) => stranger.close(resolve));
});

async function answersIn(name: BoxName): Promise<Record<string, string>> {
  const address = stranger.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const run = site.start(name, '/usr/bin/perl', [
    PROGRAM,
    String(site.port),
    String(port),
    join(site.folder, 'secret'),
  ]);
  let said = '';
  run.stdout.on('data', (text) => {
    said += text;
  });
  expect(await run.exited).toMatchObject({ exitCode: 0 });
  const pairs = said
    .trim()
    .split('\n')
    .map((line) => line.split(': '));
  return Object.fromEntries(pairs.map(([what, answer]) => [what, answer]));
}

const column = (of: 0 | 1 | 2): Record<string, string> =>
  Object.fromEntries(Object.entries(ANSWERS).map(([what, answers]) => [what, answers[of]]));

describe('what a box refuses', () => {
  test.runIf(has('landlock'))(
    'at L2: every socket but TCP, every port but its own, and files that are not its own',
    async () => {
      expect(await answersIn('L2')).toMatchObject(column(0));
    },
  );

  test.runIf(has('landlock'))('at L2 with open sockets: files and other processes all the same', async () => {
    expect(await answersIn('L2 with open sockets')).toMatchObject(column(1));
  });

  test.runIf(has('bubblewrap'))('at L3: nothing outside is there', async () => {
    expect(await answersIn('L3')).toMatchObject(column(2));
    const shared = { ...column(2), 'listing of /': 'EACCES' };
    expect(await answersIn('L3 with a shared /proc')).toMatchObject(shared);
  });

  test('without a box nothing of all that is refused, so that the refusals mean something', async () => {
    const found = await answersIn('L1');
    const refused = Object.keys(ANSWERS).filter((what) => found[what] !== 'yes');
    expect(refused.filter((what) => !['/etc/shadow', '/dev/kmsg'].includes(what))).toEqual([]);
  });
});

describe('confine.pl', () => {
  test.runIf(has('root'))('leaves root no capability', () => {
    const look = ['--sockets', 'all', '--', '/bin/grep', '-E', '^Cap(Eff|Prm|Bnd)', '/proc/self/status'];
    const { stdout } = spawnSync('/usr/bin/perl', [CONFINE_PATH, ...look], { encoding: 'utf8' });
    expect(stdout.match(/[0-9a-f]{16}/g)).toEqual(Array(3).fill('0'.repeat(16)));
  });

  const COMMAND = ['--', '/bin/echo', 'ran'];
  test.runIf(has('landlock')).each([
    ['an option it does not know', ['--rx', '/usr', ...COMMAND], /bad option --rx/],
    ['a path that is not absolute', ['--ro', 'usr', ...COMMAND], /bad option --ro usr/],
    ['a port that is none', ['--connect', '65536', '--sockets', 'strict', ...COMMAND], /bad option --connect 65536/],
    ['no word on sockets', ['--ro', '/usr', ...COMMAND], /--sockets is missing/],
    ['strict sockets that lead nowhere', ['--ro', '/usr', '--sockets', 'strict', ...COMMAND], /needs --connect/],
    ['no command', ['--ro', '/usr', '--sockets', 'all', '--'], /no absolute command/],
    ['a command without its folder', ['--sockets', 'all', '--', 'echo'], /no absolute command/],
    [
      'a folder to change that is not there',
      ['--rw', '/nowhere', '--sockets', 'all', ...COMMAND],
      /\/nowhere: No such file/,
    ],
    [
      'a command that it may not read',
      ['--ro', '/etc', '--sockets', 'all', ...COMMAND],
      /\/bin\/echo: Permission denied/,
    ],
  ])('refuses %s with 125, and does not run the command', (_what, args, why) => {
    const { status, stdout, stderr } = spawnSync('/usr/bin/perl', [CONFINE_PATH, ...args], { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toMatch(why);
  });
});
