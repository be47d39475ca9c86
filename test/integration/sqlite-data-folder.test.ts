import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, onTestFinished, test } from 'vitest';
import { newId } from '../../src/protocol/ids.ts';
import { SCHEMA_VERSION } from '../../src/storage/sqlite/schema.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import { eventOf, recordOf } from '../support/execution-records.ts';
import { ROOT } from '../support/source-files.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

function mode(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

async function storeWithOneExecution(): Promise<{ dataDirectory: string; file: string; id: string }> {
  const dataDirectory = join(await temporaryFolder(), 'deep', 'data');
  const storage = await openSqliteStorage({ dataDirectory });
  const { record } = await storage.createExecution(recordOf(), eventOf(1));
  await storage.close();
  return { dataDirectory, file: join(dataDirectory, 'store.sqlite'), id: record.execution.id };
}

test('the folder can be passed through and none of its files can be read by others', async () => {
  const dataDirectory = join(await temporaryFolder(), 'data');
  const storage = await openSqliteStorage({ dataDirectory });
  await storage.registerInstance(newId());
  await storage.createExecution(recordOf(), eventOf(1));
  expect(mode(dataDirectory)).toBe('711');
  expect(mode(join(dataDirectory, 'instances'))).toBe('700');
  const files = readdirSync(dataDirectory).filter((name) => name !== 'instances');
  expect(files.sort()).toEqual(['reserve', 'store.sqlite', 'store.sqlite-shm', 'store.sqlite-wal']);
  expect(files.map((name) => mode(join(dataDirectory, name)))).toEqual(['600', '600', '600', '600']);
  await storage.close();
  expect(readdirSync(join(dataDirectory, 'instances'))).toEqual([]);
});

test('what was stored is there after the store is closed and opened again', async () => {
  const { dataDirectory, id } = await storeWithOneExecution();
  const storage = await openSqliteStorage({ dataDirectory });
  expect((await storage.listUnfinished()).map((unfinished) => unfinished.id)).toEqual([id]);
  await storage.close();
});

test('a store of a newer version is refused with both versions, and left as it was', async () => {
  const { dataDirectory, file } = await storeWithOneExecution();
  const db = new DatabaseSync(file);
  db.exec('PRAGMA user_version = 99; UPDATE layout SET readable_from = 99');
  db.close();
  const hash = (): string => createHash('sha256').update(readFileSync(file)).digest('hex');
  const before = hash();
  const opening = openSqliteStorage({ dataDirectory });
  await expect(opening).rejects.toMatchObject({ code: 'storage_newer' });
  await expect(opening).rejects.toThrow(
    new RegExp(`layout version 99.*up to version ${SCHEMA_VERSION}\\. Run the newer version`),
  );
  expect(hash()).toBe(before);
});

test('a file that is no store is refused, and left as it was', async () => {
  const dataDirectory = await temporaryFolder();
  const text = 'these are my notes, not a database\n'.repeat(100);
  writeFileSync(join(dataDirectory, 'store.sqlite'), text);
  const opening = openSqliteStorage({ dataDirectory });
  await expect(opening).rejects.toMatchObject({ code: 'data_folder_unusable' });
  await expect(opening).rejects.toThrow('store.sqlite: the store is damaged');
  expect(readFileSync(join(dataDirectory, 'store.sqlite'), 'utf8')).toBe(text);
});

test('a store whose pages are overwritten is refused as damaged', async () => {
  const { dataDirectory, file } = await storeWithOneExecution();
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.fill(0x5a, 100));
  await expect(openSqliteStorage({ dataDirectory })).rejects.toMatchObject({ code: 'data_folder_unusable' });
});

test('a file where the folder should be, and a folder where the store should be, are refused by path', async () => {
  const folder = await temporaryFolder();
  writeFileSync(join(folder, 'file'), '');
  mkdirSync(join(folder, 'data', 'store.sqlite'), { recursive: true });
  for (const dataDirectory of [join(folder, 'file'), join(folder, 'file', 'below'), join(folder, 'data')]) {
    const opening = openSqliteStorage({ dataDirectory });
    await expect(opening).rejects.toMatchObject({ code: 'data_folder_unusable' });
    await expect(opening).rejects.toThrow(dataDirectory);
  }
});

test('the files of instances that died are swept when another one registers', async () => {
  const dataDirectory = await temporaryFolder();
  const storage = await openSqliteStorage({ dataDirectory });
  writeFileSync(join(dataDirectory, 'instances', 'dead.sqlite'), '');
  await storage.registerInstance('living');
  expect(readdirSync(join(dataDirectory, 'instances'))).toEqual(['living.sqlite']);
  await storage.close();
});

test('the version before can go on with a store of this layout, which keeps all that one writes to', async () => {
  const dataDirectory = await temporaryFolder();
  const file = join(dataDirectory, 'store.sqlite');
  copyFileSync(join(ROOT, 'test/fixtures/records/sqlite-layout-2/store.sqlite'), file);
  const columns = (): { name: string; required: boolean }[] => {
    const db = new DatabaseSync(file, { readOnly: true });
    const rows = db
      .prepare(
        `SELECT t.name || '.' || c.name AS name, c."notnull" AND c.dflt_value IS NULL AS required
        FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'`,
      )
      .all();
    db.close();
    return rows.map(({ name, required }) => ({ name: String(name), required: required === 1 }));
  };
  const before = columns();
  await (await openSqliteStorage({ dataDirectory })).close();
  const after = columns();
  expect(after).toEqual(expect.arrayContaining(before));
  const tables = new Set(before.map(({ name }) => name.split('.')[0]));
  const added = after.filter(({ name }) => tables.has(name.split('.')[0]) && !before.some((old) => old.name === name));
  expect(added.length).toBeGreaterThan(0);
  expect(added.filter(({ required }) => required)).toEqual([]);
  const db = new DatabaseSync(file, { readOnly: true });
  onTestFinished(() => db.close());
  expect(db.prepare('SELECT readable_from FROM layout').get()).toEqual({ readable_from: SCHEMA_VERSION - 1 });
});
