import { inspect } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { CallerCredentials, type CallerCredentialsOptions } from '../../src/auth/caller-credential.ts';
import { PresentedCredential } from '../../src/auth/presented-credential.ts';
import { paysByItself } from '../../src/protocol/paying-tenant.ts';
import { TenantName } from '../../src/protocol/tenant.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

type Answer = 'accepted' | 'refused' | 'unknown';

const KEY = 'sk-ant-api03-caller-AAAA';
const MAX = 'sk-ant-oat01-caller-BBBB';

interface Setup {
  callers: CallerCredentials;
  /** How often the model API was asked. */
  asked(): number;
  answerWith(answer: Answer): void;
  pass(ms: number): void;
  /** Another node on the same store. */
  other(): CallerCredentials;
}

async function setup(attempt?: CallerCredentialsOptions['attempt']): Promise<Setup> {
  const storage = await openSqliteStorage({ dataDirectory: await temporaryFolder() });
  onTestFinished(() => storage.close());
  let [asked, now] = [0, 0];
  let answer: Answer = 'accepted';
  const make = (): CallerCredentials =>
    new CallerCredentials({
      storage,
      allowMax: true,
      now: () => now,
      attempt: async (credential) => {
        asked += 1;
        return attempt === undefined ? { answer, detail: 'HTTP 200' } : attempt(credential);
      },
    });
  return {
    callers: make(),
    asked: () => asked,
    answerWith: (given) => {
      answer = given;
    },
    pass: (ms) => {
      now += ms;
    },
    other: make,
  };
}

test('one that is taken is asked about again after five minutes, a refused one after half a minute', async () => {
  const { callers, asked, answerWith, pass } = await setup();
  expect(await callers.verify(KEY)).toMatchObject({ kind: 'claude', limits: null });
  pass(299_000);
  await callers.verify(KEY);
  expect(asked()).toBe(1);
  pass(2_000);
  answerWith('refused');
  expect([await callers.verify(KEY), asked()]).toEqual([undefined, 2]);
  pass(29_000);
  answerWith('accepted');
  expect([await callers.verify(KEY), asked()]).toEqual([undefined, 2]);
  pass(2_000);
  expect([(await callers.verify(KEY))?.kind, asked()]).toEqual(['claude', 3]);
});

test('one that could not be asked about is let in nowhere and remembered as nothing', async () => {
  const { callers, asked, answerWith } = await setup();
  answerWith('unknown');
  await expect(callers.verify(KEY)).rejects.toMatchObject({
    code: 'model_api_unreachable',
    data: { retryAfterMs: 5_000 },
  });
  answerWith('accepted');
  expect([(await callers.verify(KEY))?.kind, asked()]).toEqual(['claude', 2]);
});

test('no more than sixteen are asked about at once, and further ones are told when to come again', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { callers, asked } = await setup(async () => {
    await promise;
    return { answer: 'accepted', detail: '' };
  });
  const first = Array.from({ length: 16 }, (_, at) => callers.verify(`${KEY}-${at}`));
  await expect(callers.verify(`${KEY}-16`)).rejects.toMatchObject({ code: 'too_many', data: { retryAfterMs: 1_000 } });
  const again = callers.verify(`${KEY}-3`);
  resolve();
  expect(new Set((await Promise.all(first)).map((found) => found?.tenant)).size).toBe(16);
  expect([(await again)?.kind, asked()]).toEqual(['claude', 16]);
});

test('the tenant is the same on every node, says nothing of the credential, and can be nobody else’s', async () => {
  const { callers, other } = await setup();
  const [here, there, another] = [
    await callers.verify(KEY),
    await other().verify(KEY),
    await callers.verify(`${KEY}-2`),
  ];
  expect(here?.tenant).toBe(there?.tenant);
  expect(here?.tenant).not.toBe(another?.tenant);
  expect([here?.tenant, here?.keyId].map((name) => paysByItself(name ?? ''))).toEqual([true, true]);
  expect(TenantName.safeParse(here?.tenant).success).toBe(false);
  expect(TenantName.safeParse('claude-team').success).toBe(true);
});

test('of two nodes that are shown two Max tokens at once, one pins its own, and what was pinned stands for its bearer', async () => {
  const { callers, other } = await setup();
  const both = [callers.verify(MAX), other().verify(`${MAX}-2`)];
  const settled = await Promise.allSettled(both);
  expect(settled.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  const found = settled.find((one) => one.status === 'fulfilled')?.value;
  expect(await found?.stands()).toBe(true);
  await callers.account.reset();
  await callers.account.configure('of another one');
  expect(await found?.stands()).toBe(false);
});

test('nothing but the two forms is taken for a Claude credential', () => {
  const wrong = [
    ...['', 'sk-ant-', 'sk-ant-api03', 'sk-ant-api03-', 'sk-ant-api03-short', 'sk-ant-ort01-AAAABBBBCCCC'],
    ...[` ${KEY}`, `${KEY} `, `${KEY}\n`, `${KEY}"`, KEY.toUpperCase(), `x${KEY}`, `sk-ant-api03-${'a'.repeat(501)}`],
    ...['sk-ant-api0-AAAABBBB', 'sk-ant-api003-AAAABBBB', 'sk-ant-admin01-AAAABBBB', 'cck_0123456789abcdef_x'],
  ];
  for (const presented of wrong) expect(PresentedCredential.parse(presented)).toBeUndefined();
  expect([PresentedCredential.parse(KEY)?.kind, PresentedCredential.parse(MAX)?.kind]).toEqual(['api_key', 'max']);
});

test('a credential shows its secret in no text, JSON or inspection', () => {
  const credential = PresentedCredential.parse(KEY);
  const shown = [
    String(credential),
    JSON.stringify({ credential }),
    inspect(credential, { showHidden: true, depth: 9 }),
  ];
  for (const text of shown) expect(text).not.toContain('AAAA');
  expect(credential?.reveal()).toBe(KEY);
});
