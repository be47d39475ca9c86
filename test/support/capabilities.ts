import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pinnedBinaryPath } from '../../src/claude/binary.ts';

interface Capability {
  what: string;
  howToGet: string;
  present(): boolean;
}

const isRoot = process.getuid?.() === 0;
const runs = (file: string, args: readonly string[]): boolean =>
  spawnSync(file, args, { timeout: 20_000 }).status === 0;
const MAKE_BOX = ['--unshare-all', '--ro-bind', '/', '/', '--proc', '/proc', 'true'];

/**
 * What a machine may lack. A test that cannot run without one of these is skipped by `runIf(has('name'))` and in no
 * other way, so that the end of `npm test` can name what was not tested and how to have it tested.
 */
export const CAPABILITIES = {
  linux: {
    what: 'Linux with /proc: process families, limits, leftovers',
    howToGet: 'run on Linux, or in WSL or a container',
    present: () => process.platform === 'linux',
  },
  perl: {
    what: 'perl: the launcher',
    howToGet: 'apt-get install perl-base',
    present: () => runs('perl', ['-e', '1']),
  },
  claude: {
    what: 'the pinned claude program',
    howToGet: 'npm ci (with optional packages and install scripts allowed)',
    present: () => {
      const path = pinnedBinaryPath();
      return path !== undefined && runs(path, ['--version']);
    },
  },
  pty: {
    what: 'a pseudo terminal by script(1): what people see',
    howToGet: 'apt-get install bsdutils',
    present: () => runs('script', ['-qec', 'true', '/dev/null']),
  },
  openssl: {
    what: 'openssl: certificates for servers with TLS',
    howToGet: 'apt-get install openssl',
    present: () => runs('openssl', ['version']),
  },
  redis: {
    what: 'redis-server: the store that several machines share',
    howToGet: 'apt-get install redis-server',
    present: () => runs('redis-server', ['--version']),
  },
  redisTls: {
    what: 'a redis-server with TLS, and openssl for its certificate',
    howToGet: 'apt-get install redis-server openssl (a Redis that was built with BUILD_TLS=yes)',
    // It reads its arguments in order and stops at the first one that it does not know.
    present: () =>
      runs('openssl', ['version']) &&
      String(spawnSync('redis-server', ['--tls-port', '0', '--unknown', 'x']).stderr).includes('unknown'),
  },
  root: {
    what: 'root: runs under another user',
    howToGet: 'run as root, in a container for example',
    present: () => isRoot,
  },
  unprivileged: {
    what: 'a user who is not root: files and users that are refused',
    howToGet: 'run as a user who is not root; as root: let uid 65534 read this folder',
    present: () => !isRoot,
  },
  docker: {
    what: 'a Docker engine with compose: the image and the compose file',
    howToGet: 'start one, or on Debian as root: deployment/install-docker-engine.sh',
    present: () => runs('docker', ['info']) && runs('docker', ['compose', 'version']),
  },
  landlock: {
    what: 'Landlock of Linux 6.12 or newer: isolation level L2',
    howToGet: 'boot such a kernel with landlock among its security modules (lsm=…)',
    // The version is what landlock_create_ruleset answers; 6 is the first with scopes.
    present: () => runs('perl', ['-e', 'exit(syscall(444, 0, 0, 1) < 6)']),
  },
  bubblewrap: {
    what: 'bubblewrap and the right to make user namespaces: isolation level L3',
    howToGet: 'apt-get install bubblewrap; where the kernel refuses, see docs/security.md',
    present: () => runs('bwrap', MAKE_BOX),
  },
  socat: {
    what: 'socat, and bubblewrap: the way out of a box of level L3',
    howToGet: 'apt-get install socat bubblewrap',
    present: () => runs('bwrap', MAKE_BOX) && runs('socat', ['-V']),
  },
  mount: {
    what: 'mounting: disks that are full or read-only',
    howToGet: 'run as root with the right to mount (docker run --privileged)',
    present: canMount,
  },
} as const satisfies Record<string, Capability>;

export type CapabilityName = keyof typeof CAPABILITIES;

const answers = new Map<CapabilityName, boolean>();

/** Whether this process has a capability; asked of the machine once. */
export function has(name: CapabilityName): boolean {
  const answer = answers.get(name) ?? CAPABILITIES[name].present();
  answers.set(name, answer);
  return answer;
}

function canMount(): boolean {
  if (process.platform !== 'linux' || !isRoot) return false;
  const path = mkdtempSync(join(tmpdir(), 'cc-executor-disk-'));
  const mounted = runs('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path]);
  if (mounted) runs('umount', [path]);
  rmdirSync(path);
  return mounted;
}
