// promise: P3, P9

import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { has } from '../support/capabilities.ts';
import { executor } from '../support/executor.ts';
import { fakeClaude } from '../support/processes.ts';
import { redisServer } from '../support/redis-server.ts';

/** What says that a run starts, and what it reads next. */
const STARTS = '"state":"running"';
const READS_SESSION = /HGET\r\n\$\d+\r\ncce:session:/;

/** A way to Redis that is lost once, with a command on it: before Redis hears it, or after. */
async function lossyWay(
  socketPath: string,
  command: string | RegExp,
  lost: 'before' | 'after',
): Promise<{ url: string; losses(): number }> {
  let losses = 0;
  const server = createServer((client) => {
    const upstream = connect(socketPath).on('error', () => {});
    client.on('error', () => {}).on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
    client.on('data', (bytes) => {
      const hit = losses === 0 && bytes.toString('latin1').search(command) >= 0;
      if (hit) losses += 1;
      if (hit) client.destroy();
      if (!hit) upstream.write(bytes);
      else if (lost === 'after') upstream.end(bytes);
    });
    upstream.pipe(client);
    onTestFinished(() => void client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the way has no port');
  return { url: `redis://127.0.0.1:${address.port}`, losses: () => losses };
}

describe.runIf(has('redis'))('a run that loses its connection to Redis before it starts', () => {
  test.each([
    ['with the news of its start on the way, before Redis heard of it', STARTS, 'before'],
    ['with the news of its start on the way, after Redis heard of it', STARTS, 'after'],
    ['as it reads its session', READS_SESSION, 'before'],
  ] as const)('%s: it starts once all the same', async (_when, command, lost) => {
    const redis = await redisServer();
    const way = await lossyWay(redis.url.slice('unix://'.length), command, lost);
    const { run } = await executor({
      env: { REDIS_URL: way.url, CLAUDE_BIN: fakeClaude('succeeds') },
      adoptQueued: true,
    });
    const { execution, events } = await run({ prompt: 'x' });
    expect([way.losses(), execution.outcome?.kind]).toEqual([1, 'succeeded']);
    expect(events.filter(({ type }) => type === 'execution.started')).toHaveLength(1);
  });
});
