import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { has } from '../support/capabilities.ts';
import { machine } from '../support/program.ts';
import { redisServer } from '../support/redis-server.ts';

/** A way to Redis that lets so many connections through, and resets those that come after them. */
async function narrowWay(socketPath: string, most: number): Promise<string> {
  let count = 0;
  const server = createServer((client) => {
    client.on('error', () => {});
    count += 1;
    if (count > most) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(socketPath).on('error', () => {});
    client.pipe(upstream).pipe(client);
    client.on('close', () => upstream.destroy());
    onTestFinished(() => void client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the way has no port');
  return `redis://127.0.0.1:${address.port}`;
}

describe.runIf(has('redis'))('a start that loses Redis', () => {
  test.each([1, 2, 3, 4, 5])(
    'behind its connection number %d ends the process, or is a start all the same',
    async (most) => {
      const redis = await redisServer();
      const home = await machine();
      const url = await narrowWay(redis.url.slice('unix://'.length), most);
      const running = home.start(['serve'], {
        env: { CC_PORT: '0', CC_WARM_POOL: '0', REDIS_URL: url, CC_ROLE: 'worker' },
      });
      const outcome = await Promise.race([
        running.ended.then(({ code }) => code),
        expect
          .poll(() => running.said().stderr, { timeout: 25_000 })
          .toContain('listens on')
          .then(() => 'listens'),
      ]);
      expect([6, 'listens']).toContain(outcome);
    },
  );
});
