import { describe, expect, it } from 'vitest';
import { createKey, OPERATOR, revokeKey } from '../../src/auth/key-ring.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { openCallers } from '../../src/server/open-callers.ts';
import { count, queueSite, within } from '../fixtures/queue-nodes.ts';
import { has } from '../support/capabilities.ts';
import { fakeClaude } from '../support/processes.ts';

const [ACME, OTHER] = [{ tenant: 'acme' }, { tenant: 'other' }];

describe.runIf(has('redis'))('with a redis-server, on two nodes', () => {
  it('what one tenant runs elsewhere does not exist for another, whoever is asked', { timeout: 60_000 }, async () => {
    const { node } = await queueSite();
    const api = await node('api', {});
    const runner = await node('all', { CLAUDE_BIN: fakeClaude('streams-slowly') });
    const { executions, storage } = api.service;
    const { id } = await api.start({ prompt: 'x', env: { FAKE_COUNT: '200', FAKE_DELAY_MS: '50' } }, ACME);
    await within(20, 'it speaks', async () => (await count(storage, id, 'claude.delta')) > 0);
    const missing = { code: 'not_found', message: `There is no execution ${id}` };
    for (const { service } of [api, runner]) {
      const asked = service.executions;
      await expect(asked.get(id, OTHER)).rejects.toMatchObject(missing);
      await expect(asked.getJson(id, OTHER)).rejects.toMatchObject(missing);
      await expect(asked.pause(id, OTHER)).rejects.toMatchObject(missing);
      await expect(asked.resume(id, OTHER)).rejects.toMatchObject(missing);
      await expect(asked.cancel(id, OTHER)).rejects.toMatchObject(missing);
      await expect(asked.addInput(id, 'x', OTHER)).rejects.toMatchObject(missing);
      await expect(asked.assertCursor(id, 0, OTHER)).rejects.toMatchObject(missing);
      await expect(asked.events(id, { after: 0 }, OTHER).next()).rejects.toMatchObject(missing);
    }
    for (const action of ['snapshot', 'pause', 'cancel', 'input'] as const) {
      const forged = runner.service.executions.controlHere({ ...OTHER, executionId: id, action, text: 'x' });
      await expect(forged).rejects.toMatchObject(missing);
    }
    expect(await executions.get(id, ACME)).toMatchObject({ state: 'running', cancelRequestedAt: null });
    expect((await executions.cancel(id, ACME)).cancelRequestedAt).not.toBeNull();
    await within(20, 'it has ended', async () => (await executions.get(id, ACME)).state === 'finished');
  });

  it('a token that one node made opens the other, until its key is revoked anywhere', async () => {
    const { node } = await queueSite();
    const [first, second] = [await node('api', {}), await node('api', {})];
    const logger = createLogger('silent');
    const auth = { on: true, jwtSecret: undefined, issuer: undefined };
    const on = ({ service: { storage } }: typeof first) =>
      openCallers({ auth, apiKey: undefined }, { storage, logger });
    const [here, there] = [(await on(first)).callers, (await on(second)).callers];
    const { key, id } = await createKey(first.service.storage, OPERATOR, {
      name: 'k',
      tenant: 'acme',
      scopes: ['admin'],
    });
    const principal = await here.verify(key);
    if (principal === undefined) throw new Error('the key does not open');
    const { token } = await here.issueToken(principal, key, { expiresInSeconds: 60 });
    const bearer = await there.verify(token);
    expect(bearer).toMatchObject({ tenant: 'acme', kind: 'token', keyId: id });
    await revokeKey(second.service.storage, OPERATOR, id);
    expect([await here.verify(token), await bearer?.stands()]).toEqual([undefined, false]);
  });
});
