// promise: P1 P3 P6
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type BuiltServer, builtServer } from '../support/built-server.ts';
import { has } from '../support/capabilities.ts';
import { type Machine, machine } from '../support/program.ts';
import { redisServer } from '../support/redis-server.ts';
import { rpcClient } from '../support/rpc-client.ts';
import { eventsIn } from '../support/server.ts';

const SLOW = [{ kind: 'deltas' as const, count: 150, text: 'word ', deltaEveryMs: 35 }];

interface Nodes {
  home: Machine;
  node(role: 'api' | 'worker', env?: Record<string, string>): Promise<BuiltServer>;
}

/** A Redis of its own, and how to start nodes on it that share a data folder. */
async function nodes(script: Parameters<typeof machine>[0]): Promise<Nodes> {
  const { url } = await redisServer();
  const home = await machine(script);
  const node = (role: 'api' | 'worker', env = {}) =>
    builtServer({ machine: home, env: { REDIS_URL: url, CC_ROLE: role, CC_DRAIN_MS: '0', ...env } });
  return { home, node };
}

const seqOf = (data: string): number => JSON.parse(data).seq;

describe.runIf(has('redis'))('several nodes on one Redis', () => {
  test('a run that was started on one is followed on another, also when the first one is killed', async () => {
    const { node } = await nodes(SLOW);
    await node('worker');
    const [first, second] = [await node('api'), await node('api')];
    expect(second.key).toBe(first.key);
    const { id } = await first.submit({ prompt: 'x' });
    const overFirst = first.stream(id).catch(() => 'cut');
    const client = await rpcClient(second.url, { key: second.key });
    await client.call('subscribe', { executionId: id });
    await client.frame(({ params }) => params?.type === 'claude.delta');
    first.running.child.kill('SIGKILL');
    await overFirst;
    await client.frame(({ method }) => method === 'subscription.closed');
    const log = eventsIn(await second.stream(id)).map(([, , data]) => data);
    expect(client.events(id)).toEqual(log);
    expect(log.map(seqOf)).toEqual(log.map((_, index) => index + 1));
    expect((await second.get(id)).outcome?.kind).toBe('succeeded');
  });

  test('a run is paused, resumed, given more to do and cancelled from a node that does not run it', async () => {
    const { node } = await nodes([{ kind: 'deltas', count: 2_000, text: 'word ', deltaEveryMs: 20 }]);
    await node('worker');
    const api = await node('api');
    const { id } = await api.submit({ prompt: 'x' });
    await expect.poll(async () => (await api.get(id)).cli, { timeout: 20_000 }).not.toBeNull();
    const act = async (verb: string, json: unknown = {}) =>
      (await api.call(`/v1/executions/${id}/${verb}`, { json })).json();
    expect((await act('pause')).state).toBe('paused');
    expect((await act('resume')).state).toBe('running');
    expect((await act('input', { text: 'And this' })).id).toBe(id);
    expect((await act('cancel')).cancelRequestedAt).not.toBeNull();
    await expect.poll(async () => (await api.get(id)).outcome?.kind, { timeout: 20_000 }).toBe('cancelled');
    expect((await act('pause')).code).toBe('conflict');
  });

  test('what waits for a worker knows its place, is cancelled without one, and runs when one comes', async () => {
    const { node } = await nodes([{ kind: 'text', text: 'Hello' }]);
    const api = await node('api');
    const [first, second] = [await api.submit({ prompt: '1' }), await api.submit({ prompt: '2' })];
    expect((await api.get(first.id)).queuePosition).toBe(1);
    expect((await api.get(second.id)).queuePosition).toBe(2);
    await api.call(`/v1/executions/${first.id}/cancel`, { method: 'POST' });
    await expect.poll(async () => (await api.get(first.id)).outcome?.kind).toBe('cancelled');
    await node('worker');
    await expect.poll(async () => (await api.get(second.id)).outcome?.kind, { timeout: 20_000 }).toBe('succeeded');
    expect((await api.get(first.id)).startedAt).toBeNull();
  });

  test('a worker that is killed leaves its run lost, with its output, and another one takes what waits', async () => {
    const { node } = await nodes(SLOW);
    const worker = await node('worker');
    const api = await node('api');
    const { id } = await api.submit({ prompt: 'x', workspace: 'shared' });
    const waiting = await api.submit({ prompt: 'y', workspace: 'shared' });
    await expect.poll(async () => (await api.get(id)).partialText, { timeout: 20_000 }).toContain('word');
    worker.running.child.kill('SIGKILL');
    await node('worker');
    await expect.poll(async () => (await api.get(id)).outcome?.kind, { timeout: 30_000 }).toBe('lost');
    expect((await api.get(id)).partialText).toContain('word');
    await expect.poll(async () => (await api.get(waiting.id)).outcome?.kind, { timeout: 40_000 }).toBe('succeeded');
  });

  test('one key and request at two nodes at once is one execution', async () => {
    const { node } = await nodes([{ kind: 'text', text: 'Hello' }]);
    const [first, second] = [await node('api'), await node('api')];
    const submit = (server: BuiltServer) => server.submit({ prompt: 'x', idempotencyKey: 'storm' });
    const all = await Promise.all(Array.from({ length: 100 }, (_, index) => submit(index % 2 === 0 ? first : second)));
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
  });

  test('a directory that is gone when its run comes to a worker is told in the outcome, and nothing else suffers', async () => {
    const { home, node } = await nodes([{ kind: 'text', text: 'Hello' }]);
    const lent = join(home.folder, 'lent');
    await mkdir(lent);
    const env = { CC_WORKSPACES: `lent=${lent}` };
    const api = await node('api', env);
    const { id } = await api.submit({ prompt: '1', workspace: 'lent:lent' });
    const other = await api.submit({ prompt: '2' });
    await rm(lent, { recursive: true });
    await node('worker', env);
    await expect.poll(async () => (await api.get(other.id)).outcome?.kind, { timeout: 20_000 }).toBe('succeeded');
    await expect
      .poll(async () => (await api.get(id)).outcome, { timeout: 20_000 })
      .toMatchObject({
        kind: 'failed',
        reason: 'spawn_failed',
        message: expect.stringContaining(lent),
      });
  });

  test('a worker answers how it is, and nothing else; an API without workers is ready', async () => {
    const { node } = await nodes([{ kind: 'text', text: 'Hello' }]);
    const [api, worker] = [await node('api', { ANTHROPIC_API_KEY: '' }), await node('worker')];
    expect(await (await api.call('/health')).json()).toMatchObject({ status: 'ok', role: 'api' });
    expect(await (await worker.call('/health')).json()).toMatchObject({ status: 'ok', role: 'worker' });
    expect((await worker.call('/v1/executions')).status).toBe(404);
    expect((await fetch(`${worker.url}/health/live`)).status).toBe(200);
  });
});
