import { join } from 'node:path';
import { spoolingStorage } from '../../src/storage/spool/spooling-storage.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import { describeStorage } from '../support/storage-conformance.ts';
import { recordingLog } from '../support/switched-storage.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

describeStorage('SQLite behind a spool', async () => {
  const dataDirectory = await temporaryFolder();
  let opened = 0;
  // The suite opens the store several times in one process; a spool's folder belongs to one opener.
  return async () => {
    opened += 1;
    const folder = join(dataDirectory, `spool-${opened}`);
    const storage = await openSqliteStorage({ dataDirectory });
    return spoolingStorage(storage, { folder, maxBytes: 1024 * 1024, logger: recordingLog() });
  };
});
