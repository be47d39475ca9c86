import { expect, onTestFinished, test } from 'vitest';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const OLD = { id: 'old', sha256: 'a', createdAt: '2026-01-01T00:00:00.000Z' };
const NEW = { id: 'new', sha256: 'b', createdAt: '2026-01-02T00:00:00.000Z' };

async function open(dataDirectory: string): Promise<Storage> {
  const storage = await openSqliteStorage({ dataDirectory });
  onTestFinished(() => storage.close());
  return storage;
}

test.each(['itself', 'another process'])('a key that was just read is gone once %s has replaced it', async (who) => {
  const folder = await temporaryFolder();
  const storage = await open(folder);
  const replacing = who === 'itself' ? storage : await open(folder);
  await storage.addFirstKey(OLD);
  expect(await storage.getKey(OLD.id)).toMatchObject(OLD);
  const replaced = replacing.replaceKeys(NEW);
  expect(await storage.getKey(OLD.id)).toMatchObject(OLD);
  await replaced;
  expect(await storage.getKey(OLD.id)).toBeUndefined();
  expect(await storage.getKey(NEW.id)).toMatchObject(NEW);
});
