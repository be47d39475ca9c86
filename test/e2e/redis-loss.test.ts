// promise: P2 P3 P9
import { readdirSync, readFileSync } from 'node:fs';
import { cp, rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { builtServer } from '../support/built-server.ts';
import { has } from '../support/capabilities.ts';
import { machine } from '../support/program.ts';
import { redisServer } from '../support/redis-server.ts';
import { eventsIn } from '../support/server.ts';

/** The processes that carry the run's marker; a cold run is marked with its execution's id. */
function processesOf(id: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`CC_RUN_ID=${id}`);
    } catch (error) {
      if (error instanceof Error && 'code' in error) return false;
      throw error;
    }
  });
}

test.runIf(has('redis'))(
  'a Redis that comes back without the last events, as after a failover, ends the run as lost, once, and nothing runs again',
  async () => {
    const redis = await redisServer();
    const home = await machine([{ kind: 'deltas', count: 2_000, text: 'word ', deltaEveryMs: 20 }]);
    const node = (role: string) =>
      builtServer({ machine: home, env: { REDIS_URL: redis.url, CC_ROLE: role, CC_DRAIN_MS: '0' } });
    await node('worker');
    const api = await node('api');
    const { id } = await api.submit({ prompt: 'x' });
    const seen = async () => (await api.get(id)).partialText.length;
    await expect.poll(seen, { timeout: 20_000 }).toBeGreaterThan(50);
    const files = `${redis.folder}/appendonlydir`;
    await cp(files, `${redis.folder}/older`, { recursive: true });
    const before = await seen();
    await expect.poll(seen, { timeout: 20_000 }).toBeGreaterThan(before + 100);
    await redis.kill();
    await rm(files, { recursive: true });
    await cp(`${redis.folder}/older`, files, { recursive: true });
    await redis.start();
    await expect.poll(async () => (await api.get(id)).outcome?.kind, { timeout: 40_000 }).toBe('lost');
    const log = eventsIn(await api.stream(id));
    expect(log.map(([seq]) => seq)).toEqual(log.map((_, index) => index + 1));
    expect(log.filter(([, type]) => type === 'execution.finished')).toHaveLength(1);
    await expect.poll(() => processesOf(id), { timeout: 15_000 }).toEqual([]);
    expect(home.model.requests.filter(({ path }) => path.startsWith('/v1/messages'))).toHaveLength(1);
  },
);
