import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { builtServer } from '../support/built-server.ts';

it('audit export prints the log as it is stored, and audit verify finds what was changed in it', async () => {
  const { machine, submit, key } = await builtServer();
  const { id } = await submit({ prompt: 'x' });
  const { stdout, code } = await machine.run(['audit', 'export']);
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split('\n');
  expect(lines.map((line) => JSON.parse(line).action)).toEqual(['service.start', 'execution.start']);
  expect(stdout).toContain(id);
  expect(stdout).not.toContain(key);
  expect((await machine.run(['audit', 'export', '--after', '1'])).stdout).toBe(`${lines[1]}\n`);

  const whole = await machine.run(['audit', 'verify']);
  expect([whole.code, whole.stdout]).toEqual([0, expect.stringMatching(/^whole: 2 entries, up to 2 [0-9a-f]{64}\n$/)]);
  const file = join(machine.work, 'audit.ndjson');
  await writeFile(file, stdout);
  expect((await machine.run(['audit', 'verify', file])).stdout).toBe(whole.stdout);
  await writeFile(file, (await readFile(file, 'utf8')).replace('"ok"', '"no"'));
  const changed = await machine.run(['audit', 'verify', file, '--json']);
  expect(changed.code).toBe(1);
  expect(JSON.parse(changed.stdout)).toEqual({
    whole: false,
    problem: 'entry 1 is not the one that entry 2 follows',
  });
  const missing = await machine.run(['audit', 'verify', join(machine.work, 'nowhere')]);
  expect([missing.code, missing.stderr]).toEqual([2, expect.stringMatching(/cannot be read: ENOENT/)]);
});
