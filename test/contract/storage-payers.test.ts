import { describe } from 'vitest';
import { openRedisStorage } from '../../src/storage/redis/redis-storage.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import { has } from '../support/capabilities.ts';
import { redisServer } from '../support/redis-server.ts';
import { describePayers } from '../support/storage-conformance-payers.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

describePayers('SQLite', async () => {
  const dataDirectory = await temporaryFolder();
  return () => openSqliteStorage({ dataDirectory });
});

describe.runIf(has('redis'))('with a redis-server', () => {
  describePayers('Redis', async () => {
    const { url } = await redisServer();
    return () => openRedisStorage({ url });
  });
});
