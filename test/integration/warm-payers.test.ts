import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { PresentedCredential } from '../../src/auth/presented-credential.ts';
import type { Caller } from '../../src/executions/new-execution.ts';
import { findMarked, RUN_MARKER } from '../../src/isolation/marker-sweep.ts';
import { payingTenant } from '../../src/protocol/paying-tenant.ts';
import { type Executor, executor } from '../support/executor.ts';
import { waitUntil } from '../support/processes.ts';

const MAX = 'sk-ant-oat01-warm-AAAA';
const API_KEY = 'sk-ant-api03-warm-BBBB';
const ENV = { CC_ENVELOPE_KEY: 'an-envelope-key-of-32-characters' };
const [TENANT, OTHER_TENANT] = [payingTenant('a'.repeat(32)), payingTenant('b'.repeat(32))];

function paying(secret: string, tenant = TENANT): Caller {
  const credential = PresentedCredential.parse(secret);
  if (credential === undefined) throw new Error(`${secret} is no credential`);
  return { tenant, keyId: tenant, credential };
}

/** Runs to the end; resolves with the name of its process. */
async function run({ start, service }: Executor, caller: Caller): Promise<string> {
  const { id } = await start({ prompt: 'x' }, caller);
  const { outcome } = await service.executions.ended(id, AbortSignal.timeout(15_000), caller);
  expect(outcome?.kind).toBe('succeeded');
  return (await service.storage.getExecution(caller.tenant, id))?.runId ?? '';
}

/** Resolves when a process waits whose token stands where a Max token does. */
function waiting({ service }: Executor): Promise<{ runId: string; environment: string }> {
  return waitUntil('a process waits for runs that a Max token pays for', async () => {
    const [spare] = service.warm.ready();
    const [pid] = spare === undefined ? [] : await findMarked({ name: RUN_MARKER, value: spare.runId });
    const environment = pid === undefined ? '' : await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
    return spare !== undefined && environment.includes('CLAUDE_CODE_OAUTH_TOKEN')
      ? { ...spare, environment }
      : undefined;
  });
}

it('a run takes the process that waits for its tenant and kind, which holds no credential, and pays by its own', async () => {
  const at = await executor({ warmPool: 1, env: ENV });
  await run(at, paying(MAX));
  const { runId, environment } = await waiting(at);
  expect(environment).toMatch(/CLAUDE_CODE_OAUTH_TOKEN=ccr_/);
  expect(environment.includes('sk-ant')).toBe(false);
  expect(await run(at, paying(MAX))).toBe(runId);
  expect(at.model.requests.map(({ headers }) => headers.authorization)).toEqual([`Bearer ${MAX}`, `Bearer ${MAX}`]);
}, 40_000);

it.each([
  ['another kind', paying(API_KEY), API_KEY],
  ['another tenant', paying(MAX, OTHER_TENANT), `Bearer ${MAX}`],
  ['the operator', { tenant: 'local' }, 'sk-ant-api03-test'],
])(
  'a run that %s pays for starts cold beside it',
  async (_, caller, paid) => {
    const at = await executor({ warmPool: 1, env: ENV });
    await run(at, paying(MAX));
    const { runId } = await waiting(at);
    expect(await run(at, caller)).not.toBe(runId);
    const headers = at.model.requests.at(-1)?.headers;
    expect(headers?.authorization ?? headers?.['x-api-key']).toBe(paid);
  },
  40_000,
);
