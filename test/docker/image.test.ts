import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { PINNED_VERSION } from '../../src/claude/binary.ts';
import { has } from '../support/capabilities.ts';
import { builtImage, docker, dockerOrThrow } from '../support/docker.ts';
import { ROOT } from '../support/source-files.ts';

const Package = z.object({ version: z.string(), dependencies: z.record(z.string(), z.string()) });
const Sbom = z.object({
  spdxVersion: z.string(),
  packages: z.array(z.object({ name: z.string(), versionInfo: z.string() })),
});
const Inspected = z.tuple([
  z.object({
    Config: z.object({
      User: z.string(),
      WorkingDir: z.string(),
      Labels: z.record(z.string(), z.string()),
      Volumes: z.record(z.string(), z.unknown()),
      ExposedPorts: z.record(z.string(), z.unknown()),
      Healthcheck: z.object({ Test: z.array(z.string()) }),
    }),
  }),
]);
const MiB = 1024 * 1024;

let image = '';
beforeAll(async () => {
  image = await builtImage();
});

/** What a shell in a container of the image prints, as the image's own user. */
async function shell(script: string, ...options: string[]): Promise<string> {
  const { stdout } = await dockerOrThrow(['run', '--rm', ...options, '--entrypoint', 'sh', image, '-c', script]);
  return stdout.trim();
}

/** What `find` finds in the image's own file system; folders that its user may not read count as empty. */
async function found(what: string): Promise<string[]> {
  const paths = await shell(`find ${what.replace(' -', ' -xdev -')} 2>/dev/null; true`);
  return paths
    .split('\n')
    .filter((path) => path !== '')
    .sort();
}

describe('the image', () => {
  it.runIf(has('docker'))('says what it is, and runs as a user who is not root', async () => {
    const { stdout } = await dockerOrThrow(['image', 'inspect', image]);
    const [{ Config }] = Inspected.parse(JSON.parse(stdout));
    const { version } = Package.parse(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')));
    expect(Config.User).toBe('10001:10001');
    expect(Config.WorkingDir).toBe('/app');
    expect(Object.keys(Config.Volumes)).toEqual(['/data']);
    expect(Object.keys(Config.ExposedPorts)).toEqual(['8000/tcp']);
    expect(Config.Healthcheck.Test.join(' ')).toContain('/health/live');
    expect(Config.Labels['org.opencontainers.image.version']).toBe(version);
    expect(Config.Labels['org.opencontainers.image.title']).toBe('CC Executor');
    expect(await shell('id -u; id -un; echo $HOME; stat -c "%u %a" /data')).toBe('10001\nexecutor\n/data\n10001 711');
  });

  it.runIf(has('docker'))('holds the pinned claude program, once, and the tools that runs need', async () => {
    const claude = '/app/node_modules/@anthropic-ai/claude-code-linux-*/claude';
    expect(await shell(`${claude} --version`)).toBe(`${PINNED_VERSION} (Claude Code)`);
    expect(await shell('find / -xdev -type f -size +300M 2>/dev/null | wc -l')).toBe('1');
    expect(await shell('git --version && perl -v && cc-executor --version')).toContain(`(claude ${PINNED_VERSION})`);
  });

  it.runIf(has('docker'))('holds no package manager of Node, no sources, tests, maps or documents', async () => {
    expect(await shell('ls /usr/local/bin')).toBe('cc-executor\nnode');
    expect(await shell('ls /app')).toBe('LICENSE\ndist\nnode_modules\npackage.json\nsbom.spdx.json');
    const litter = '-name "*.map" -o -name "*.ts" -o -iname "readme*" -o -name test -o -name tests -o -name .git';
    expect(await shell(`find /app ${litter}`)).toBe('');
    expect(
      await shell('ls -d /app/node_modules/vitest /app/node_modules/typescript /app/node_modules/npm 2>&1 | wc -l'),
    ).toBe('3');
    expect(await shell('for p in npm npx yarn corepack vitest tsc; do command -v $p; done; true')).toBe('');
  });

  it.runIf(has('docker'))(
    'holds no program that gives its caller more rights, and none that may not be read but two',
    async () => {
      expect(await found('/ -type f -perm /6000')).toEqual([]);
      expect(await found('/usr /app -type f ! -readable')).toEqual(['/usr/bin/tini', '/usr/local/bin/node']);
      expect(await found('/ -writable ! -type l ! -path "/proc/*" ! -path "/dev/*"')).toEqual([
        ...['/data', '/run/lock', '/tmp', '/var/tmp'],
      ]);
    },
  );

  it.runIf(has('docker'))('names every package that it holds in a bill of materials, and no other', async () => {
    const { packages, spdxVersion } = Sbom.parse(JSON.parse(await shell('cat /app/sbom.spdx.json')));
    const { version, dependencies } = Package.parse(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')));
    expect(spdxVersion).toBe('SPDX-2.3');
    const named = new Map(packages.map(({ name, versionInfo }) => [name, versionInfo]));
    expect([...named]).toEqual(expect.arrayContaining([['cc-executor', version], ...Object.entries(dependencies)]));
    const files = 'find /app/node_modules -name package.json | grep -E "/node_modules/(@[^/]+/)?[^/]+/package.json$"';
    const program = 'process.argv.slice(1).map(require).map((made) => made.name + "@" + made.version).join("\\n")';
    const installed = (await shell(`node -p '${program}' $(${files})`)).split('\n');
    const listed = packages.map(({ name, versionInfo }) => `${name}@${versionInfo}`);
    expect([...new Set(installed)].sort()).toEqual(listed.filter((name) => name !== `cc-executor@${version}`).sort());
  });

  it.runIf(has('docker'))('is small apart from Node and claude', async () => {
    const sizes = await shell(
      'stat -c %s /app/node_modules/@anthropic-ai/claude-code-linux-*/claude /usr/local/bin/node; du -sb /app/dist | cut -f1',
    );
    const [claude = 0, node = 0, own = 0] = sizes.split('\n').map(Number);
    const { stdout } = await dockerOrThrow(['image', 'inspect', '--format', '{{.Size}}', image]);
    const whole = Number(stdout);
    const megabytes = Object.entries({ whole, claude, node, own, rest: whole - claude - node - own });
    console.log(megabytes.map(([name, bytes]) => `${name} ${(bytes / MiB).toFixed(1)} MiB`).join(', '));
    expect(own).toBeLessThan(3 * MiB);
    expect(whole - claude - node).toBeLessThan(230 * MiB);
  });

  it.runIf(has('docker'))('ends with a message when a setting is wrong', async () => {
    const { code, stderr } = await docker(['run', '--rm', '--env', 'CC_MAX_CONCURRENT=many', image]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('CC_MAX_CONCURRENT is not a whole') });
  });
});
