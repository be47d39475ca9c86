// promise: P3, P9

import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { has } from '../support/capabilities.ts';
import { executor } from '../support/executor.ts';
import { fakeClaude } from '../support/processes.ts';
import { redisServer } from '../support/redis-server.ts';

/** A way to Redis that is lost once, with what says that a run starts: before Redis hears it, or after. */
async function lossyWay(socketPath: string, lost: 'before' | 'after'): Promise<{ url: string; losses(): number }> {
  let losses = 0;
  const server = createServer((client) => {
    const upstream = connect(socketPath).on('error', () => {});
    client.on('error', () => {}).on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
    client.on('data', (bytes) => {
      const hit = losses === 0 && bytes.includes('"state":"running"');
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

describe.runIf(has('redis'))('a run whose start was on its way to Redis when the connection was lost', () => {
  test.each(['before', 'after'] as const)('%s Redis heard of it: it starts once all the same', async (lost) => {
    const redis = await redisServer();
    const way = await lossyWay(redis.url.slice('unix://'.length), lost);
    const { run } = await executor({
      env: { REDIS_URL: way.url, CLAUDE_BIN: fakeClaude('succeeds') },
      adoptQueued: true,
    });
    const { execution, events } = await run({ prompt: 'x' });
    expect([way.losses(), execution.outcome?.kind]).toEqual([1, 'succeeded']);
    expect(events.filter(({ type }) => type === 'execution.started')).toHaveLength(1);
  });
});
