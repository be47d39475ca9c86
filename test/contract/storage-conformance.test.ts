import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import { describeStorage } from '../support/storage-conformance.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

describeStorage('SQLite', async () => {
  const dataDirectory = await temporaryFolder();
  return () => openSqliteStorage({ dataDirectory });
});
