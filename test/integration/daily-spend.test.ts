import { expect, onTestFinished, test } from 'vitest';
import { DailySpend, type SpendLimits } from '../../src/executions/daily-spend.ts';
import type { ModelCall } from '../../src/model-gateway/model-call.ts';
import { startModelGateway } from '../../src/model-gateway/model-gateway.ts';
import { estimateUsd } from '../../src/model-gateway/spend-port.ts';
import { ServiceError } from '../../src/protocol/errors.ts';
import { type ScriptedModel, startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { executor } from '../support/executor.ts';
import { gatewayRun } from '../support/gateway-run.ts';
import { callsTo, testServer } from '../support/server.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const BODY = JSON.stringify({
  model: 'claude-sonnet-5-5',
  max_tokens: 128_000,
  messages: [{ role: 'user', content: 'hi' }],
});
const ESTIMATE = estimateUsd({ model: 'claude-sonnet-5-5', maxTokens: 128_000, bodyBytes: BODY.length });
const NO_LIMITS: SpendLimits = { tenantUsd: undefined, keyUsd: undefined };

interface Setup {
  model: ScriptedModel;
  storage: Storage;
  calls: ModelCall[];
  /** Makes one call, by turns through the gateways of two nodes, and resolves with its status and text. */
  call(): Promise<{ status: number; text: string; retry: string | null }>;
  spentUsd(counter: string): Promise<number>;
}

/** Two nodes on one store, and a model whose answers cost `outputTokens` of Sonnet each: 10 USD a million. */
async function setup(options: {
  outputTokens: number;
  limits: Partial<SpendLimits>;
  waitMs?: number;
  seenStorage?: (storage: Storage) => Pick<Storage, 'reserveSpend' | 'settleSpend'>;
}): Promise<Setup> {
  const { outputTokens, limits, waitMs = 10_000, seenStorage = (storage) => storage } = options;
  const usage = { inputTokens: 0, outputTokens };
  const model = await startScriptedModel({ script: [{ kind: 'text', text: 'ok', usage, beforeHeadersMs: 50 }] });
  onTestFinished(() => model.close());
  const dataDirectory = await temporaryFolder();
  const calls: ModelCall[] = [];
  const open = async () => {
    const storage = await openSqliteStorage({ dataDirectory });
    const limitsOf = async () => ({ ...NO_LIMITS, ...limits });
    const spend = new DailySpend({ storage: seenStorage(storage), limitsOf, logger: { warn: () => {} }, waitMs });
    const gateway = await startModelGateway({ upstream: model.url, spend, listen: { host: '127.0.0.1', port: 0 } });
    onTestFinished(async () => {
      await gateway.close();
      await spend.close();
      await storage.close();
    });
    const token = gateway.issueToken();
    gateway.attach(token, gatewayRun({ onCall: (call) => calls.push(call) }));
    return { storage, gateway, token };
  };
  const [one, other] = [await open(), await open()];
  let made = 0;
  const call: Setup['call'] = async () => {
    made += 1;
    const { gateway, token } = made % 2 === 0 ? one : other;
    const init = { method: 'POST', headers: { 'x-api-key': token }, body: BODY };
    const response = await fetch(`${gateway.baseUrl}/v1/messages`, init);
    return { status: response.status, text: await response.text(), retry: response.headers.get('x-should-retry') };
  };
  const { storage } = one;
  const spentUsd = async (counter: string): Promise<number> =>
    (await storage.readSpend(new Date().toISOString().slice(0, 10), counter)).spentMicroUsd / 1e6;
  return { model, storage, calls, call, spentUsd };
}

test('many calls at once on two nodes go over the limit by no more than each costs above its estimate', async () => {
  const cost = 0.1;
  const { call, model, spentUsd } = await setup({ outputTokens: 10_000, limits: { tenantUsd: 1 } });
  const answers = await Promise.all(Array.from({ length: 60 }, call));
  const made = answers.filter(({ status }) => status === 200).length;
  const atOnce = Math.floor(1 / ESTIMATE);
  expect(model.requests).toHaveLength(made);
  // Fewer where the first were booked, at more than was held for them, before the last had asked.
  expect(made).toBeGreaterThanOrEqual(Math.ceil(1 / cost));
  expect(made).toBeLessThanOrEqual(atOnce);
  await expect.poll(() => spentUsd('tenant:local')).toBeCloseTo(made * cost, 5);
  expect(made * cost).toBeLessThanOrEqual(1 + atOnce * (cost - ESTIMATE));
  expect((await call()).status).toBe(402);
});

test('calls that cost less than their estimate wait for room, and no more than one goes over the limit', async () => {
  const cost = 0.02;
  const { call, spentUsd } = await setup({ outputTokens: 2_000, limits: { keyUsd: 0.19 } });
  const answers = await Promise.all(Array.from({ length: 20 }, call));
  const made = answers.filter(({ status }) => status === 200).length;
  expect(made).toBe(10);
  await expect.poll(() => spentUsd('key:k1')).toBeCloseTo(made * cost, 5);
  expect(await spentUsd('tenant:local')).toBeCloseTo(made * cost, 5);
});

test('a refusal comes before the call, is not worth a retry, and says whose limit, how much and until when', async () => {
  const { call, calls, model } = await setup({ outputTokens: 10_000, limits: { keyUsd: 0.05 } });
  expect((await call()).status).toBe(200);
  await expect.poll(() => call()).toMatchObject({ status: 402, retry: 'false' });
  const { text } = await call();
  const day = new Date().toISOString().slice(0, 10);
  expect(JSON.parse(text)).toMatchObject({ type: 'error', error: { type: 'billing_error' } });
  expect(text).toContain(`this key may spend in a day is reached: 0.1000 USD were spent on ${day} (UTC)`);
  expect(text).toMatch(/It resets at \d{4}-\d\d-\d\dT00:00:00\.000Z/);
  expect(model.requests).toHaveLength(1);
  expect(calls.at(-1)).toMatchObject({ status: 402, refusal: 'spend', costUsd: 0 });
});

test('without a limit nothing is counted and the store is not asked', async () => {
  const asked: string[] = [];
  const { call, spentUsd } = await setup({
    outputTokens: 10,
    limits: {},
    seenStorage: () => ({
      reserveSpend: async () => {
        asked.push('reserve');
        return 'reserved_here';
      },
      settleSpend: async () => void asked.push('settle'),
    }),
  });
  expect((await call()).status).toBe(200);
  expect([asked, await spentUsd('tenant:local')]).toEqual([[], 0]);
});

test('without a store no call is made, and a call waits for one that comes back in time', async () => {
  let away = true;
  const unavailable = () => new ServiceError('storage_unavailable', 'away');
  const seenStorage = (storage: Storage) => ({
    reserveSpend: (reservation: Parameters<Storage['reserveSpend']>[0]) =>
      away ? Promise.reject(unavailable()) : storage.reserveSpend(reservation),
    settleSpend: (id: string, microUsd: number) =>
      away ? Promise.reject(unavailable()) : storage.settleSpend(id, microUsd),
  });
  const limits = { tenantUsd: 1 };
  const { call, calls, model, spentUsd } = await setup({ outputTokens: 10_000, limits, waitMs: 600, seenStorage });
  const refused = await call();
  expect([refused.status, refused.retry]).toEqual([402, 'false']);
  expect(refused.text).toContain('the store does not answer');
  expect(calls.at(-1)).toMatchObject({ refusal: 'spend_unknown' });
  expect(model.requests).toHaveLength(0);
  const waiting = call();
  await expect.poll(() => calls.length).toBe(1);
  away = false;
  expect((await waiting).status).toBe(200);
  await expect.poll(() => spentUsd('tenant:local')).toBeCloseTo(0.1, 5);
});

test('a run of a tenant whose limit is reached ends at once as failed for its budget, and says why', async () => {
  const usage = { inputTokens: 100_000 };
  const at = await executor({ script: [{ kind: 'text', text: 'Hello', usage }], env: { CC_SPEND_PER_DAY_USD: '0.1' } });
  expect((await at.run({ prompt: 'One' })).execution.outcome).toMatchObject({ kind: 'succeeded' });
  const asked = at.model.requests.length;
  const { execution, events } = await at.run({ prompt: 'Two' });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'budget' });
  expect(execution.outcome?.message).toMatch(/this tenant may spend in a day is reached: 0\.\d+ USD .* It resets at/);
  expect(events.find(({ type }) => type === 'model.called')?.data).toMatchObject({ status: 402, refusal: 'spend' });
  expect(at.model.requests).toHaveLength(asked);
});

test('a key has a limit of its own, and the run of another key of the same tenant goes on', async () => {
  const at = await testServer({ script: [{ kind: 'text', text: 'Hello', usage: { inputTokens: 100_000 } }] });
  const scopes = ['executions:read', 'executions:write'];
  const make = async (limits?: object): Promise<string> =>
    (await (await at.call('/v1/keys', { json: { name: 'k', scopes, ...(limits && { limits }) } })).json()).key;
  const limited = callsTo(at.url, await make({ spendUsdPerDay: 0.1 }));
  const free = callsTo(at.url, await make());
  expect((await limited.run({ prompt: 'One' })).outcome?.kind).toBe('succeeded');
  const message = expect.stringContaining('this key may spend in a day is reached');
  expect((await limited.run({ prompt: 'Two' })).outcome).toMatchObject({ kind: 'failed', reason: 'budget', message });
  expect((await free.run({ prompt: 'Three' })).outcome?.kind).toBe('succeeded');
});
