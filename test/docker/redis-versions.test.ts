import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { promisify } from 'node:util';
import { execa } from 'execa';
import { Redis } from 'ioredis';
import { GenericContainer, type StartedTestContainer, Wait } from 'testcontainers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRedisStorage } from '../../src/storage/redis/redis-storage.ts';
import { has } from '../support/capabilities.ts';
import { docker, dockerOrThrow } from '../support/docker.ts';
import { executor } from '../support/executor.ts';
import { fakeClaude } from '../support/processes.ts';
import { ROOT } from '../support/source-files.ts';
import { describeStorage } from '../support/storage-conformance.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const run = promisify(execFile);
const [PORT, TLS_PORT] = [6379, 6380];
const CERTIFICATES = '/certificates';
const USER = 'executor:the-password';
const EXECUTIONS = 12;

interface Version {
  name: string;
  image: string;
  program: string;
  /** What `INFO` says. */
  says: RegExp;
}

const VERSIONS: readonly Version[] = [
  { name: 'Redis 7', image: 'redis:7', program: 'redis-server', says: /^redis_version:7\./m },
  { name: 'Redis 8', image: 'redis:8', program: 'redis-server', says: /^redis_version:8\./m },
  { name: 'Valkey 8', image: 'valkey/valkey:8', program: 'valkey-server', says: /^valkey_version:8\./m },
];

/** Where no registry can be reached: Debian's packages, one stage for each image; `base-images.sh` sees to redis:8. */
const STAND_INS = `
FROM debian:trixie-slim AS base
RUN ls /etc/apt/sources.list.d/*.sources 2>/dev/null && rm /etc/apt/sources.list.d/*.sources \\
 && echo 'deb http://deb.debian.org/debian trixie main' >/etc/apt/sources.list; true
FROM base AS redis-7
RUN sed s/trixie/bookworm/g /etc/apt/sources.list >/etc/apt/sources.list.d/bookworm.list && apt-get update \\
 && apt-get install -y --no-install-recommends redis-server/bookworm redis-tools/bookworm
FROM base AS valkey-valkey-8
RUN apt-get update && apt-get install -y --no-install-recommends valkey-server
`;

let folder = '';
const usual = getCACertificates('default');
let pulling = true;

beforeAll(async () => {
  if (!has('docker')) return;
  folder = await mkdtemp(join(tmpdir(), 'cc-executor-test-'));
  // A server that is not root reads the copy of it.
  await chmod(folder, 0o755);
  await execa(join(ROOT, 'deployment', 'base-images.sh'), [], { stdin: 'ignore', timeout: 200_000 });
  await writeFile(join(folder, 'Dockerfile'), STAND_INS);
  if (!has('openssl')) return;
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=redis'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate],
  ]);
  await chmod(key, 0o644);
  setDefaultCACertificates([...usual, await readFile(certificate, 'utf8')]);
});

afterAll(async () => {
  setDefaultCACertificates(usual);
  if (folder !== '') await rm(folder, { recursive: true, force: true });
});

/** The image itself where it is there or can be pulled; after one pull has failed the others are not tried. */
async function imageOf(image: string): Promise<string> {
  if ((await docker(['image', 'inspect', image])).code === 0) return image;
  if (pulling && (await docker(['pull', '--quiet', image], { timeoutMs: 100_000 })).code === 0) return image;
  pulling = false;
  const stage = image.replace(/[/:]/g, '-');
  const tag = `cc-executor-test:${stage}`;
  await dockerOrThrow(['build', '--target', stage, '--tag', tag, folder], { timeoutMs: 200_000 });
  return tag;
}

/** Its ports are open to this machine alone. Whoever starts it removes it: the reaper's image may be out of reach. */
class LoopbackContainer extends GenericContainer {
  protected override async beforeContainerCreated(): Promise<void> {
    const bindings = [PORT, TLS_PORT].map((port) => [`${port}/tcp`, [{ HostIp: '127.0.0.1', HostPort: '0' }]]);
    this.hostConfig.PortBindings = Object.fromEntries(bindings);
  }
}

async function startServer({ image, program }: Version): Promise<StartedTestContainer> {
  const tls = [
    ...[
      '--tls-port',
      String(TLS_PORT),
      '--tls-cert-file',
      `${CERTIFICATES}/certificate.pem`,
      '--tls-auth-clients',
      'no',
    ],
    ...['--tls-key-file', `${CERTIFICATES}/key.pem`, '--tls-ca-cert-file', `${CERTIFICATES}/certificate.pem`],
  ];
  return new LoopbackContainer(await imageOf(image))
    .withAutoCleanup(false)
    .withEntrypoint([program])
    .withCommand([
      ...['--port', String(PORT), '--bind', '0.0.0.0', '--protected-mode', 'no', '--dir', '/kept', '--save', ''],
      ...['--appendonly', 'yes', '--databases', '1000', ...(has('openssl') ? tls : [])],
      ...['--user', 'executor', 'on', '>the-password', '~cce:*', '&cce:*', '+@all'],
    ])
    .withTmpFs({ '/kept': 'rw,mode=1777' })
    .withCopyDirectoriesToContainer([{ source: folder, target: CERTIFICATES }])
    .withExposedPorts(PORT, TLS_PORT)
    .withWaitStrategy(Wait.forLogMessage(/ready to accept connections/i))
    .withStartupTimeout(20_000)
    .start();
}

/** `newUrl` names a database that no other test uses. */
function describeAccess(name: string, newUrl: () => string): void {
  describeStorage(name, async () => {
    const url = newUrl();
    return () => openRedisStorage({ url });
  });

  it(`${name}: executions wait in the queue, and each is run once by one of two workers`, async () => {
    const shared = { REDIS_URL: newUrl(), CLAUDE_BIN: fakeClaude('succeeds'), CC_MAX_CONCURRENT: '2' };
    const site = await temporaryFolder();
    const node = (CC_ROLE: string) => executor({ folder: site, env: { ...shared, CC_ROLE }, adoptQueued: true });
    const api = await node('api');
    await node('worker');
    await node('worker');
    const accepted = await Promise.all(Array.from({ length: EXECUTIONS }, () => api.start({ prompt: 'hello' })));
    for (const { id } of accepted) {
      const { execution, events } = await api.follow(id);
      expect(execution.outcome).toMatchObject({ kind: 'succeeded', message: null });
      expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
      expect(events.filter(({ type }) => type === 'execution.started')).toHaveLength(1);
    }
  });
}

describe.runIf(has('docker')).each(VERSIONS)('$name', (version) => {
  let server: StartedTestContainer;
  let databases = 0;

  beforeAll(async () => {
    server = await startServer(version);
  });

  afterAll(() => server?.stop({ timeout: 0, removeVolumes: true }));

  it('is what it is called', async () => {
    const redis = new Redis(server.getMappedPort(PORT), '127.0.0.1');
    try {
      expect(await redis.info('server')).toMatch(version.says);
    } finally {
      redis.disconnect();
    }
  });

  const withDatabase = (address: string): string => {
    databases += 1;
    return `${address}/${databases}`;
  };

  describe('without a password', () => {
    describeAccess(version.name, () => withDatabase(`redis://127.0.0.1:${server.getMappedPort(PORT)}`));
  });

  describe('as an ACL user with the rights that messages name', () => {
    describeAccess(version.name, () => withDatabase(`redis://${USER}@127.0.0.1:${server.getMappedPort(PORT)}`));
  });

  describe.runIf(has('openssl'))('as that user over TLS', () => {
    describeAccess(version.name, () => withDatabase(`rediss://${USER}@127.0.0.1:${server.getMappedPort(TLS_PORT)}`));
  });
});
