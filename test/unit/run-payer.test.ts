import { expect, test } from 'vitest';
import { CredentialEnvelopes } from '../../src/executions/credential-envelope.ts';
import { payerOf } from '../../src/executions/run-payer.ts';
import { payingTenant } from '../../src/protocol/paying-tenant.ts';
import { executionOf, recordOf } from '../support/execution-records.ts';

const TENANT = payingTenant('a'.repeat(32));
const SECRET = 'sk-ant-oat01-caller-AAAA';
const operator = { credential: { kind: 'api_key' as const, current: async () => 'sk-ant-api03-operator' } };
const envelopes = new CredentialEnvelopes('k'.repeat(32));
const { id } = executionOf();

function payer(tenant: string, envelope: string | undefined, keys: CredentialEnvelopes | undefined = envelopes) {
  return payerOf({ operator, envelopes: keys }, recordOf({ tenant, envelope, execution: { id } }));
}

test('the operator pays for tenants of the operator, and for nobody who pays by themselves', () => {
  expect(payer('local', undefined)).toBe(operator);
  expect(payer(TENANT, undefined)).toEqual({ problem: expect.stringContaining('is gone') });
});

test('what an envelope holds pays, by its kind; one that does not open pays nothing and says why', async () => {
  const sealed = envelopes.seal(SECRET, { executionId: id, tenant: TENANT });
  const found = payer(TENANT, sealed);
  expect('credential' in found && [found.credential.kind, await found.credential.current()]).toEqual(['max', SECRET]);
  const other = new CredentialEnvelopes('l'.repeat(32));
  expect(payer(TENANT, sealed, other)).toEqual({ problem: expect.stringContaining('another CC_ENVELOPE_KEY') });
  expect(payer('local', sealed)).toEqual({ problem: expect.stringContaining('does not open') });
  expect(payerOf({ operator, envelopes: undefined }, recordOf({ tenant: TENANT, envelope: sealed }))).toEqual({
    problem: expect.stringContaining('no key for envelopes'),
  });
});
