import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { builtServer } from '../support/built-server.ts';
import { type Ended, type Machine, machine } from '../support/program.ts';
import { callsTo } from '../support/server.ts';

const keyIn = ({ stdout }: Ended): string => stdout.trim();
const keptKey = async ({ folder }: Machine): Promise<string> =>
  (await readFile(join(folder, 'data', 'key'), 'utf8')).trim();

/** What a command of keys says on its success. */
async function keys(at: Machine, args: string[], env: Record<string, string> = {}): Promise<Ended> {
  const ended = await at.run(['keys', ...args], { env });
  expect([args, ended.code, ended.stderr]).toEqual([args, 0, expect.any(String)]);
  return ended;
}

it('keys are made, listed, rotated and revoked in the store of the machine, and a server there takes them at once', async () => {
  const { machine: at, url } = await builtServer();
  const status = async (key: string): Promise<number> => (await callsTo(url, key).call('/v1/executions')).status;
  const limits = ['--concurrent-runs', '2', '--spend-per-day', '1.5'];
  const args = ['create', 'night ly', '--tenant', 'acme', '--scope', 'executions:read', '--expires', '30d', ...limits];
  const made = await keys(at, args);
  const key = keyIn(made);
  expect(key).toMatch(/^cck_[0-9a-f]{16}_[\w-]{32}$/);
  expect(made.stderr).toMatch(
    /^Key \w+ \(night ly\) of tenant acme: executions:read; until .*Z\. It is shown this once\.\n$/,
  );
  expect(await status(key)).toBe(200);
  const id = key.slice(4, 20);
  const { keys: listed } = JSON.parse((await keys(at, ['list', '--json'])).stdout);
  expect(listed).toMatchObject([
    { tenant: 'local', name: 'operator', scopes: ['admin'], limits: null },
    { id, tenant: 'acme', name: 'night ly', limits: { concurrentRuns: 2, spendUsdPerDay: 1.5 }, revokedAt: null },
  ]);
  const shown = (await keys(at, ['list', '--tenant', 'acme'])).stdout;
  expect(shown).toMatch(
    new RegExp(`^${id}  acme  night ly  executions:read  concurrentRuns 2  .*until .*  used .*Z\\n$`),
  );
  const rotated = await keys(at, ['rotate', id, '--overlap', '1h']);
  expect(rotated.stderr).toContain('The former secret opens until');
  expect([await status(key), await status(keyIn(rotated))]).toEqual([200, 200]);
  const again = keyIn(await keys(at, ['rotate', id, '--overlap', '0']));
  expect(await Promise.all([key, keyIn(rotated), again].map(status))).toEqual([401, 401, 200]);
  expect((await keys(at, ['revoke', id])).stdout).toMatch(new RegExp(`^${id}  revoked .*Z\\n$`));
  expect(await status(again)).toBe(401);
});

it('the key that the command line of the machine has is kept in its file when it is rotated or reset', async () => {
  const { machine: at } = await builtServer();
  const first = await keptKey(at);
  const rotated = keyIn(await keys(at, ['rotate', first.slice(4, 20), '--overlap', '0']));
  expect(await keptKey(at)).toBe(rotated);
  expect((await at.run(['list'])).code).toBe(0);
  await keys(at, ['create', 'other', '--tenant', 'acme']);
  const reset = keyIn(await keys(at, ['reset']));
  expect(await keptKey(at)).toBe(reset);
  expect((await at.run(['list'])).code).toBe(0);
  const { keys: left } = JSON.parse((await keys(at, ['list', '--json'])).stdout);
  expect(left.map(({ tenant }: { tenant: string }) => tenant).sort()).toEqual(['acme', 'local']);
});

it('with --url the server does it, as far as the key that is presented may', async () => {
  const { machine: at, url, key } = await builtServer();
  const elsewhere = await machine();
  const there = ['--url', url, '--key', key];
  const tenants = keyIn(
    await keys(elsewhere, ['create', 'admin of acme', '--tenant', 'acme', '--scope', 'admin', ...there]),
  );
  const own = ['--url', url, '--key', tenants];
  const made = JSON.parse((await keys(elsewhere, ['create', 'reader', '--json', ...own])).stdout);
  expect(made).toMatchObject({
    ...{ tenant: 'acme', name: 'reader', key: expect.stringMatching(/^cck_/) },
    scopes: ['executions:read', 'executions:write', 'workspaces:read', 'workspaces:write'],
  });
  const list = async (...args: string[]) =>
    JSON.parse((await keys(elsewhere, ['list', '--json', ...args])).stdout).keys;
  expect(await list(...own)).toHaveLength(2);
  expect(await list(...there)).toHaveLength(3);
  expect((await keys(elsewhere, ['rotate', made.id, ...own])).stdout).toMatch(/^cck_/);
  const reader = await elsewhere.run(['keys', 'list', '--url', url, '--key', made.key]);
  expect([reader.code, reader.stderr]).toEqual([2, expect.stringContaining('This needs the scope admin')]);
  await keys(elsewhere, ['revoke', made.id], { CC_URL: url, CC_API_KEY: tenants.padEnd(32) });
  const refused = await elsewhere.run(['keys', 'create', 'x', '--tenant', 'other', ...own]);
  expect([refused.code, refused.stderr]).toEqual([
    2,
    expect.stringContaining('made by the operator; leave tenant out'),
  ]);
  const unknown = await elsewhere.run(['keys', 'revoke', 'nothing', '--json', ...own]);
  expect([unknown.code, JSON.parse(unknown.stderr).code]).toEqual([2, 'not_found']);
  expect((await at.run(['keys', 'list'])).code).toBe(0);
});

it('what is asked in a wrong way is refused with how it is right', async () => {
  const at = await machine();
  for (const [args, told] of [
    [['create'], "missing required argument 'name'"],
    [['create', 'x', '--scope', 'all'], 'Allowed are executions:read'],
    [['create', 'x', '--expires', 'tomorrow'], 'Write a time with its zone'],
    [['create', 'x', '--expires', '2020-01-01T00:00:00Z'], 'expiresAt has passed already'],
    [['create', 'x', '--tenant', 'Acme'], 'tenant is not a tenant'],
    [['create', 'x', '--concurrent-runs', '0'], 'limits.concurrentRuns'],
    [['rotate', 'x', '--overlap', '10'], 'Write 0, or a time such as 10m'],
    [['revoke', 'nothing'], 'There is no key nothing'],
    [['list', '--key', 'x'], '--key is for a server'],
  ] as const) {
    const { code, stdout, stderr } = await at.run(['keys', ...args]);
    expect([args, code === 0, stdout, stderr]).toEqual([args, false, '', expect.stringContaining(told)]);
  }
});
