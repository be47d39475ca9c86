import { basename, dirname, join } from 'node:path';
import type { BoxPlace, Door, Enclosed, SandboxedBox } from './box.ts';
import type { LaunchCommand } from './launcher.ts';
import { BOX_INIT_PATH, CONFINE_PATH, DEVICES, each, PERL, PROC_FILES, SYSTEM_FOLDERS } from './system-paths.ts';

/** Who a run is in its box; files of the run's user outside are this one's. Not 0, which bypassPermissions refuses. */
export const BOX_UID = 1000;
const BOX_HOME = '/run/home';

/** Where things are in the box that lie elsewhere outside: the path of a unix socket may have 107 bytes only. */
const GATEWAY_FOLDER = '/run/gateway';
const EGRESS_FOLDER = '/run/egress';
const PROGRAMS_FOLDER = '/run/box';
/** The port on the box's own loopback that leads to the egress socket. */
export const EGRESS_PORT = 3128;
/** /tmp is memory; what is large belongs into TMPDIR, which is on disk. */
const TMP_BYTES = 256 * 1024 * 1024;

/** What of the system's /etc tells programs how to work and holds no secret; the rest is not there. */
const ETC = [
  ...['alternatives', 'ca-certificates', 'ca-certificates.conf', 'ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'pki'],
  ...['ssl/certs', 'ssl/openssl.cnf', 'localtime', 'timezone', 'mime.types', 'services', 'protocols', 'os-release'],
  ...['debian_version', 'terminfo', 'inputrc', 'profile', 'bash.bashrc', 'perl', 'python3', 'fonts'],
].map((name) => `/etc/${name}`);
const OWN_ETC = ['passwd', 'group', 'hosts', 'nsswitch.conf'];

/** What stands in the files of `SandboxedBox.etc`. */
export const BOX_FILES: Readonly<Record<string, string>> = {
  passwd: `run:x:${BOX_UID}:${BOX_UID}::${BOX_HOME}:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n`,
  group: `run:x:${BOX_UID}:\nnogroup:x:65534:\n`,
  hosts: '127.0.0.1 localhost box\n::1 localhost\n',
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
};

/**
 * Level L3: bubblewrap, with namespaces of its own for users, processes, network, IPC, host name and mounts. Pure. Its
 * first process is box-init.pl, which starts the command behind the filter of confine.pl.
 */
export function sandboxedCommand(box: SandboxedBox, place: BoxPlace, command: LaunchCommand): Enclosed {
  const gateway = folderOf(place.gateway);
  const egress = place.egress === undefined ? undefined : folderOf(place.egress);
  const args = [
    ...['--unshare-all', '--unshare-user', ...(box.proc === 'own' ? ['--disable-userns'] : [])],
    ...['--die-with-parent', '--new-session', '--as-pid-1', '--cap-drop', 'ALL', '--hostname', 'box'],
    ...['--uid', String(BOX_UID), '--gid', String(BOX_UID)],
    ...SYSTEM_FOLDERS.flatMap((path) => ['--ro-bind-try', path, path]),
    ...ETC.flatMap((path) => ['--ro-bind-try', path, path]),
    ...OWN_ETC.flatMap((name) => ['--ro-bind', join(box.etc, name), `/etc/${name}`]),
    ...(box.proc === 'own' ? ['--proc', '/proc'] : ['--ro-bind', '/proc', '/proc']),
    ...['--dev', '/dev', '--size', String(TMP_BYTES), '--tmpfs', '/tmp'],
    ...binds(place, command.file),
    ...['--symlink', place.home, BOX_HOME],
    ...['--ro-bind', gateway.outside, GATEWAY_FOLDER],
    ...(egress === undefined ? [] : ['--ro-bind', egress.outside, EGRESS_FOLDER]),
    ...[BOX_INIT_PATH, CONFINE_PATH].flatMap((path) => ['--ro-bind', path, join(PROGRAMS_FOLDER, basename(path))]),
    ...['--remount-ro', '/', '--chdir', command.cwd, '--'],
    ...[PERL, join(PROGRAMS_FOLDER, basename(BOX_INIT_PATH))],
    ...(egress === undefined ? [] : ['--bridge', `${EGRESS_PORT}=${join(EGRESS_FOLDER, egress.name)}`]),
    ...['--', PERL, join(PROGRAMS_FOLDER, basename(CONFINE_PATH)), '--sockets', 'all', '--status', '3'],
    ...(box.proc === 'own' ? [] : confinedPaths(place, command.file)),
    ...['--', command.file, ...command.args],
  ];
  const env = {
    ...command.env,
    ANTHROPIC_BASE_URL: 'http://gateway.invalid',
    ANTHROPIC_UNIX_SOCKET: join(GATEWAY_FOLDER, gateway.name),
  };
  return { command: { ...command, file: box.bwrap, args, env }, box: 'init' };
}

/** Outer folders before inner ones, so that none hides another; what may be changed wins over what may be read. */
function binds({ readable, writable }: BoxPlace, program: string): string[] {
  const isIn = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);
  const read = readable.filter((path) => !writable.some((folder) => isIn(path, folder)));
  const mounts = [
    ...read.map((path) => ({ path, how: '--ro-bind' })),
    ...writable.map((path) => ({ path, how: '--bind' })),
    { path: program, how: '--ro-bind-try' },
  ];
  const depth = ({ path }: { path: string }): number => path.split('/').length;
  return mounts.sort((left, right) => depth(left) - depth(right)).flatMap(({ path, how }) => [how, path, path]);
}

/** Where /proc is the system's own, Landlock leaves nothing of it that tells of another process. */
function confinedPaths({ readable, writable }: BoxPlace, program: string): string[] {
  const read = [...SYSTEM_FOLDERS, '/etc', '/run', '/dev', ...PROC_FILES, ...readable, program];
  return [
    ...each('--ro', read),
    ...each('--dev', [...DEVICES, '/dev/ptmx']),
    ...each('--rw', [...writable, '/tmp', '/dev/shm', '/dev/pts']),
  ];
}

function folderOf(door: Door): { outside: string; name: string } {
  if ('socket' in door) return { outside: dirname(door.socket), name: basename(door.socket) };
  throw new Error(`A sandboxed run has a network of its own, so it cannot reach port ${door.port}`);
}
