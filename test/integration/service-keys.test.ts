import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createKey, type KeyAdmin, listKeys, OPERATOR, revokeKey, rotateKey } from '../../src/auth/key-ring.ts';
import { sha256 } from '../../src/auth/key-secret.ts';
import { createKeyUses } from '../../src/auth/key-uses.ts';
import type { Principal } from '../../src/auth/principal.ts';
import { openRedisStorage } from '../../src/storage/redis/redis-storage.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { type TestCallers, testCallers } from '../support/callers.ts';
import { has } from '../support/capabilities.ts';
import { redisServer } from '../support/redis-server.ts';
import { ROOT } from '../support/source-files.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const ACME: KeyAdmin = { tenant: 'acme', scopes: ['admin'], kind: 'key' };
const later = (ms: number): string => new Date(Date.now() + ms).toISOString();

/** The key that layout 2 of each store has; see test/fixtures/records. */
const FORMER_KEY = `cck_0123456789abcdef_${'A'.repeat(32)}`;
const FORMER = { id: '0123456789abcdef', sha256: sha256(FORMER_KEY), createdAt: '2026-02-01T00:00:00.000Z' };

async function closedLater(storage: Storage): Promise<Storage> {
  onTestFinished(() => storage.close());
  return storage;
}

/** A key and a token of it. */
async function opened({ callers, make }: TestCallers, wanted: Parameters<TestCallers['make']>[0]) {
  const { key, id } = await make(wanted);
  const principal = await callers.verify(key);
  if (principal === undefined) throw new Error('the key does not open');
  const { token } = await callers.issueToken(principal, key, { expiresInSeconds: 3_600 });
  return { key, id, token, principal };
}

function describeKeysOn(adapter: string, open: () => Promise<Storage>): void {
  const setUp = async (): Promise<TestCallers> => testCallers({ storage: await open() });

  describe(`${adapter}: a key`, () => {
    test('opens its tenant with its scopes and limits until its end, and its token no longer', async () => {
      const at = await setUp();
      const wanted = { tenant: 'acme', scopes: ['executions:read' as const], limits: { concurrentRuns: 2 } };
      const { key, token } = await opened(at, { ...wanted, expiresAt: later(1_500) });
      const principal = await at.callers.verify(key);
      expect(principal).toMatchObject({ ...wanted, kind: 'key' });
      expect(await at.callers.verify(token)).toMatchObject({ ...wanted, kind: 'token' });
      await expect.poll(() => at.callers.verify(key), { timeout: 5_000 }).toBeUndefined();
      expect(await at.callers.verify(token)).toBeUndefined();
      expect(await principal?.stands()).toBe(false);
    });

    test('that is revoked opens nothing at once, nor does its token, and what it opened does not stand', async () => {
      const at = await setUp();
      const { key, id, token, principal } = await opened(at, { tenant: 'acme' });
      const bearer = await at.callers.verify(token);
      expect([await principal.stands(), await bearer?.stands()]).toEqual([true, true]);
      expect((await revokeKey(at.storage, ACME, id)).revokedAt).toMatch(/Z$/);
      expect([await at.callers.verify(key), await at.callers.verify(token)]).toEqual([undefined, undefined]);
      expect([await principal.stands(), await bearer?.stands()]).toEqual([false, false]);
      const again = await revokeKey(at.storage, OPERATOR, id);
      expect(again).toEqual(await revokeKey(at.storage, ACME, id));
      await expect(rotateKey(at.storage, { admin: ACME, id }, { overlapSeconds: 0 })).rejects.toMatchObject({
        code: 'conflict',
      });
    });

    test('that is rotated opens with both secrets for a while, each with its tokens, and then with the new one', async () => {
      const at = await setUp();
      const { key, id, token } = await opened(at, { tenant: 'acme', expiresAt: later(3_600_000) });
      const rotated = await rotateKey(at.storage, { admin: ACME, id }, { overlapSeconds: 1 });
      expect(rotated).toMatchObject({ id, tenant: 'acme', overlapEndsAt: expect.stringMatching(/Z$/) });
      expect(await at.callers.verify(rotated.key)).toMatchObject({ keyId: id });
      expect((await at.callers.verify(key))?.endsAt).toBe(Date.parse(rotated.overlapEndsAt ?? ''));
      expect((await at.callers.verify(token))?.keyId).toBe(id);
      await expect.poll(() => at.callers.verify(key), { timeout: 5_000 }).toBeUndefined();
      expect(await at.callers.verify(token)).toBeUndefined();
      expect((await at.callers.verify(rotated.key))?.keyId).toBe(id);
      const once = await rotateKey(at.storage, { admin: ACME, id }, { overlapSeconds: 0 });
      expect([await at.callers.verify(rotated.key), (await at.callers.verify(once.key))?.keyId]).toEqual([
        undefined,
        id,
      ]);
    });

    test('is seen, revoked and rotated by its tenant and the operator alone', async () => {
      const { storage, make } = await setUp();
      const { id } = await make({ tenant: 'other' });
      const own = await make({ tenant: 'acme' });
      const missing = { code: 'not_found', message: `There is no key ${id}` };
      await expect(revokeKey(storage, ACME, id)).rejects.toMatchObject(missing);
      await expect(rotateKey(storage, { admin: ACME, id }, { overlapSeconds: 0 })).rejects.toMatchObject(missing);
      expect((await listKeys(storage, ACME, {})).map((key) => key.id)).toEqual([own.id]);
      expect(await listKeys(storage, ACME, { tenant: 'other' })).toEqual([]);
      expect((await listKeys(storage, OPERATOR, {})).map((key) => key.tenant).sort()).toEqual(['acme', 'other']);
      expect((await listKeys(storage, OPERATOR, { tenant: 'other' })).map((key) => key.id)).toEqual([id]);
      expect((await revokeKey(storage, OPERATOR, id)).revokedAt).not.toBeNull();
    });

    test('makes keys of its own tenant within its own scopes, and a token makes none', async () => {
      const { storage } = await setUp();
      const wanted = { name: 'n', scopes: ['executions:read' as const] };
      expect((await createKey(storage, ACME, wanted)).tenant).toBe('acme');
      const forbidden = { code: 'forbidden' };
      await expect(createKey(storage, ACME, { ...wanted, tenant: 'other' })).rejects.toMatchObject(forbidden);
      await expect(createKey(storage, ACME, { ...wanted, tenant: 'local' })).rejects.toMatchObject(forbidden);
      const narrow: KeyAdmin = { ...ACME, scopes: ['executions:read'] };
      const more = createKey(storage, narrow, { ...wanted, scopes: ['executions:read', 'executions:write'] });
      await expect(more).rejects.toMatchObject({ ...forbidden, data: { scope: 'executions:write' } });
      await expect(createKey(storage, { ...ACME, kind: 'token' }, wanted)).rejects.toMatchObject(forbidden);
      const past = createKey(storage, ACME, { ...wanted, expiresAt: later(-1) });
      await expect(past).rejects.toMatchObject({ code: 'invalid_request', data: { errors: [{ path: 'expiresAt' }] } });
      expect(await listKeys(storage, OPERATOR, {})).toHaveLength(1);
    });

    test('that ended more than 30 days ago makes room for the next one', async () => {
      const { storage, make } = await setUp();
      const [old, recent] = [await make({ tenant: 'acme' }), await make({ tenant: 'acme' })];
      for (const [{ id }, days] of [
        [old, 31],
        [recent, 29],
      ] as const) {
        const key = await storage.getKey(id);
        if (key === undefined) throw new Error('there is no such key');
        await storage.changeKey(key, { ...key, revokedAt: later(-days * 24 * 3_600_000) });
      }
      const { id } = await make({ tenant: 'acme' });
      expect((await listKeys(storage, ACME, {})).map((key) => key.id).sort()).toEqual([recent.id, id].sort());
    });

    test('has its last use noted when it opened something', async () => {
      const { storage, callers, make } = await setUp();
      const { key, id } = await make({ tenant: 'acme' });
      const uses = async () => (await listKeys(storage, ACME, {})).find((one) => one.id === id)?.lastUsedAt;
      expect(await uses()).toBeNull();
      await callers.verify(`${key.slice(0, -1)}${key.endsWith('A') ? 'B' : 'A'}`);
      expect(await uses()).toBeNull();
      await callers.verify(key);
      await expect.poll(uses, { timeout: 5_000 }).toMatch(/Z$/);
    });

    test('of the former layout is the operator’s, and is rotated and revoked like any other', async () => {
      const { storage, callers } = await setUp();
      await storage.addFirstKey(FORMER);
      expect(await callers.verify(FORMER_KEY)).toMatchObject({ tenant: 'local', scopes: ['admin'], limits: null });
      const rotated = await rotateKey(storage, { admin: OPERATOR, id: FORMER.id }, { overlapSeconds: 60 });
      expect((await callers.verify(rotated.key))?.keyId).toBe(FORMER.id);
      expect((await callers.verify(FORMER_KEY))?.keyId).toBe(FORMER.id);
      await revokeKey(storage, OPERATOR, FORMER.id);
      expect([await callers.verify(rotated.key), await callers.verify(FORMER_KEY)]).toEqual([undefined, undefined]);
    });
  });
}

describeKeysOn('SQLite', async () => closedLater(await openSqliteStorage({ dataDirectory: await temporaryFolder() })));
describe.runIf(has('redis'))('with a redis-server', () => {
  describeKeysOn('Redis', async () => closedLater(await openRedisStorage({ url: (await redisServer()).url })));
});

test('a key that layout 2 of SQLite has opens as the operator’s', async () => {
  const dataDirectory = await temporaryFolder();
  await copyFile(join(ROOT, 'test/fixtures/records/sqlite-layout-2/store.sqlite'), join(dataDirectory, 'store.sqlite'));
  const storage = await closedLater(await openSqliteStorage({ dataDirectory }));
  const { callers } = await testCallers({ storage });
  expect(await callers.verify(FORMER_KEY)).toMatchObject({ tenant: 'local', scopes: ['admin'], keyId: FORMER.id });
});

test('the last use of a key is written once a minute, and again when it could not be', async () => {
  const written: string[] = [];
  let away = true;
  const note = createKeyUses({
    noteKeyUse: async (id) => {
      if (away) throw new Error('the store is away');
      written.push(id);
    },
  });
  note('a');
  await Promise.resolve();
  await Promise.resolve();
  away = false;
  for (let uses = 0; uses < 100; uses += 1) note('a');
  note('b');
  expect(written).toEqual(['a', 'b']);
});

test('a key that the operator chose opens beside those in the store, and is no key of theirs', async () => {
  const chosen = 'a-key-of-the-operators-own-choice-0123456789';
  const { callers, make } = await testCallers({ apiKey: chosen });
  const { key } = await make({});
  const principal = (await callers.verify(chosen)) as Principal;
  expect(principal).toMatchObject({ tenant: 'local', keyId: 'CC_API_KEY', scopes: ['admin'] });
  const { token } = await callers.issueToken(principal, chosen, { expiresInSeconds: 60 });
  expect((await callers.verify(token))?.keyId).toBe('CC_API_KEY');
  expect((await callers.verify(key))?.kind).toBe('key');
  const { callers: others } = await testCallers({ apiKey: `${chosen}-changed` });
  expect(await others.verify(token)).toBeUndefined();
});
