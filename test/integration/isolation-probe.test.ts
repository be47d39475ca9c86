import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { proveIsolation } from '../../src/isolation/isolation.ts';
import { BOX_INIT_PATH } from '../../src/isolation/system-paths.ts';
import { RUN_USER } from '../support/boxes.ts';
import { has } from '../support/capabilities.ts';
import { executor } from '../support/executor.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** Proves what this machine gives when `bwrap` is another program. */
async function prove(wanted: 'auto' | 'L1' | 'L2' | 'L3', bwrap?: string): ReturnType<typeof proveIsolation> {
  const folder = await temporaryFolder();
  if (bwrap !== undefined) {
    await writeFile(join(folder, 'bwrap'), `#!/bin/sh\n${bwrap}\n`);
    await chmod(join(folder, 'bwrap'), 0o755);
  }
  return proveIsolation({
    wanted,
    sockets: 'strict',
    dataDirectory: join(folder, 'data'),
    identity: RUN_USER,
    environment: { PATH: bwrap === undefined ? '/usr/bin:/bin' : folder },
    readable: [],
    home: folder,
  });
}

/** Runs what stands behind the last `--` in no box at all, below the first process that a box would have. */
const NO_BOX = `exec /usr/bin/perl -e '
  my ($last) = grep { $ARGV[$_] eq "--" } reverse 0 .. $#ARGV;
  $^F = 10;
  system "/usr/bin/perl", "${BOX_INIT_PATH}", "--", @ARGV[$last + 1 .. $#ARGV]' -- "$@"`;

test.runIf(has('bubblewrap'))('auto takes L3 where a sweep in a sandbox finds nothing', async () => {
  expect(await prove('auto')).toMatchObject({ level: 'L3', detail: 'L3', box: { level: 'L3', proc: 'own' } });
});

test.runIf(has('landlock'))('auto takes L2 where sandboxes cannot be made, and says why', async () => {
  const proven = await prove('auto', 'echo "bwrap: not today" >&2; exit 1');
  expect(proven).toMatchObject({ level: 'L2', detail: 'L2; no L3: bwrap: not today' });
});

test.runIf(has('landlock'))('a level that is asked for by name is that one', async () => {
  expect((await prove('L2')).level).toBe('L2');
  expect(await prove('L1')).toMatchObject({ level: 'L1', detail: 'L1, as CC_ISOLATION says' });
});

test('L3 that cannot be had stops the start, with why and what to do', async () => {
  const failing = prove('L3', 'echo "bwrap: No permissions to create a new namespace" >&2; exit 1');
  await expect(failing).rejects.toMatchObject({
    code: 'isolation_unavailable',
    message: expect.stringMatching(/CC_ISOLATION is L3, .*: no L3: bwrap: No permissions.*docs\/security\.md/),
  });
  const absent = executor({ env: { CC_ISOLATION: 'L3', PATH: '/nonexistent' } });
  await expect(absent).rejects.toMatchObject({ message: expect.stringContaining('bubblewrap is not installed') });
});

test('a box that keeps nothing in is found out', async () => {
  const leaking = prove('L3', NO_BOX);
  await expect(leaking).rejects.toMatchObject({
    message: expect.stringMatching(/a run got at what is not its own \(.*file/),
  });
});

test('a box that is never made fails the probe in a bounded time', async () => {
  await expect(prove('L3', 'exec sleep 1000')).rejects.toMatchObject({ message: expect.stringContaining('no L3') });
});
