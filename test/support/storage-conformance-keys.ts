import { describe, expect, test } from 'vitest';
import type { KeyRecord } from '../../src/storage/key-storage.ts';
import type { OpenStorage } from './storage-conformance.ts';

const CREATED = '2030-01-01T00:00:00.000Z';
const bareKey = (id: string) => ({ id, sha256: `hash-${id}`, createdAt: CREATED });

function keyOf(id: string, changes: Partial<KeyRecord> = {}): KeyRecord {
  return {
    ...bareKey(id),
    name: `key ${id}`,
    tenant: 'acme',
    scopes: ['executions:read', 'workspaces:write'],
    limits: { concurrentRuns: 2, spendUsdPerDay: 1.5 },
    expiresAt: '2031-01-01T00:00:00.000Z',
    revokedAt: null,
    former: { sha256: 'hash-before', until: '2030-01-02T00:00:00.000Z' },
    ...changes,
  };
}

/** The part of the suite about what opens the service. */
export function describeKeys(adapter: string, open: OpenStorage): void {
  describe(`${adapter}: keys, revoked tokens, secrets`, () => {
    test('of several first keys one is kept, as the unlimited key of the operator', async () => {
      const [one, two] = [await open(), await open()];
      const added = await Promise.all([one.addFirstKey(bareKey('a')), two.addFirstKey(bareKey('b'))]);
      expect(added.filter(Boolean)).toHaveLength(1);
      const kept = added[0] ? 'a' : 'b';
      const operator = { name: 'operator', tenant: 'local', scopes: ['admin'], limits: null, former: null };
      const first = { ...bareKey(kept), ...operator, expiresAt: null, revokedAt: null };
      expect(await two.getKey(kept)).toEqual(first);
      expect(await one.getKey(kept === 'a' ? 'b' : 'a')).toBeUndefined();
      expect(await one.listKeys(undefined)).toEqual([{ ...first, lastUsedAt: null }]);
    });

    test('a first key is refused where there are others', async () => {
      const storage = await open();
      await storage.addKey(keyOf('a'));
      expect(await storage.addFirstKey(bareKey('b'))).toBe(false);
    });

    test('a key is read back as it was added, by every connection, and its id is not given twice', async () => {
      const [one, two] = [await open(), await open()];
      await one.addKey(keyOf('a'));
      expect(await two.getKey('a')).toEqual(keyOf('a'));
      await one.addFirstKey(bareKey('first'));
      for (const id of ['a', 'first']) {
        await one.replaceKeys(bareKey('first'));
        await expect(two.addKey(keyOf(id, { name: 'another' }))).rejects.toMatchObject({ code: 'conflict' });
      }
      expect(await two.getKey('a')).toEqual(keyOf('a'));
    });

    test('a new key in place of all replaces those of the operator, and no tenant’s', async () => {
      const storage = await open();
      await storage.addFirstKey(bareKey('first'));
      await storage.addKey(keyOf('operators', { tenant: 'local' }));
      await storage.addKey(keyOf('tenants'));
      await storage.replaceKeys(bareKey('new'));
      expect((await storage.listKeys(undefined)).map(({ id }) => id)).toEqual(['new', 'tenants']);
      expect(await storage.getKey('first')).toBeUndefined();
      expect(await storage.getKey('operators')).toBeUndefined();
    });

    test('keys are listed oldest first, of one tenant or of all', async () => {
      const storage = await open();
      const made = [keyOf('c', { createdAt: '2030-01-03T00:00:00.000Z' }), keyOf('a'), keyOf('b', { tenant: 'other' })];
      for (const key of made) await storage.addKey(key);
      expect((await storage.listKeys(undefined)).map(({ id }) => id)).toEqual(['a', 'b', 'c']);
      expect((await storage.listKeys('acme')).map(({ id }) => id)).toEqual(['a', 'c']);
      expect(await storage.listKeys('nobody')).toEqual([]);
      await storage.removeKeys(['a', 'c', 'none']);
      expect((await storage.listKeys(undefined)).map(({ id }) => id)).toEqual(['b']);
      expect(await storage.getKey('a')).toBeUndefined();
    });

    test('of changes to one key at the same time the first counts, also to the first key', async () => {
      const [one, two] = [await open(), await open()];
      await one.addFirstKey(bareKey('first'));
      await one.addKey(keyOf('a'));
      for (const id of ['first', 'a']) {
        const before = await one.getKey(id);
        if (before === undefined) throw new Error(`there is no ${id}`);
        const rotated = { ...before, sha256: 'hash-new', former: { sha256: before.sha256, until: CREATED } };
        const revoked = { ...before, revokedAt: CREATED };
        const changed = [await one.changeKey(before, rotated), await two.changeKey(before, revoked)];
        expect(changed).toEqual([true, false]);
        expect(await two.getKey(id)).toEqual(rotated);
        expect(await two.changeKey(rotated, { ...rotated, revokedAt: CREATED })).toBe(true);
        expect(await one.changeKey(rotated, { ...rotated, name: 'late' })).toBe(false);
        expect((await one.getKey(id))?.revokedAt).toBe(CREATED);
      }
      expect(await one.changeKey(keyOf('none'), keyOf('none'))).toBe(false);
      expect(await one.listKeys(undefined)).toHaveLength(2);
    });

    test('the last use of a key is remembered, and an earlier one does not come back', async () => {
      const storage = await open();
      await storage.addFirstKey(bareKey('first'));
      await storage.addKey(keyOf('a'));
      await storage.noteKeyUse('a', '2030-02-02T00:00:00.000Z');
      await storage.noteKeyUse('a', '2030-02-01T00:00:00.000Z');
      await storage.noteKeyUse('first', '2030-02-03T00:00:00.000Z');
      const uses = (await storage.listKeys(undefined)).map(({ id, lastUsedAt }) => [id, lastUsedAt]);
      expect(Object.fromEntries(uses)).toEqual({ a: '2030-02-02T00:00:00.000Z', first: '2030-02-03T00:00:00.000Z' });
    });

    test('a revoked token is remembered until its end, of its own tenant alone', async () => {
      const [one, two] = [await open(), await open()];
      await one.denyToken('acme', 'token', Date.now() + 60_000);
      await one.denyToken('acme', 'token', Date.now() + 1);
      await one.denyToken('acme', 'ended', Date.now() - 1);
      expect(await two.isTokenDenied('acme', 'token')).toBe(true);
      expect(await two.isTokenDenied('acme', 'ended')).toBe(false);
      expect(await two.isTokenDenied('other', 'token')).toBe(false);
      expect(await two.isTokenDenied('acme', 'another')).toBe(false);
    });
  });
}
