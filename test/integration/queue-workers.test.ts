import { expect, it } from 'vitest';
import { CALLER, count, eventsOf, finished, queueSite, within } from '../fixtures/queue-nodes.ts';
import { fakeClaude, waitUntil, withArgument } from '../support/processes.ts';

// promise: P1 P2 P3 P4
const SUCCEEDS = { CLAUDE_BIN: fakeClaude('succeeds') };
const STALLS = { CLAUDE_BIN: fakeClaude('stalls') };

it('of two workers one runs an execution, once', async () => {
  const { node } = await queueSite();
  const api = await node('api', SUCCEEDS);
  await node('all', SUCCEEDS);
  await node('all', SUCCEEDS);
  const { id } = await api.start({ prompt: 'hello' });
  const { outcome } = await finished(api.service.storage, id);
  expect(outcome).toMatchObject({ kind: 'succeeded', message: null });
  const events = await eventsOf(api.service.storage, id);
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
  expect(await count(api.service.storage, id, 'execution.started')).toBe(1);
});

it('200 executions over two workers are each started once and finished once', { timeout: 120_000 }, async () => {
  const { node, worker } = await queueSite();
  const api = await node('api', SUCCEEDS);
  await Promise.all([worker({ ...SUCCEEDS, CC_MAX_CONCURRENT: '4' }), worker({ ...SUCCEEDS, CC_MAX_CONCURRENT: '4' })]);
  const { storage } = api.service;
  const accepted = await Promise.all(Array.from({ length: 200 }, (_, index) => api.start({ prompt: `n ${index}` })));
  const owners = new Set<string>();
  for (const { id } of accepted) {
    expect((await finished(storage, id, 90)).outcome).toMatchObject({ kind: 'succeeded', message: null });
    expect(await count(storage, id, 'execution.started')).toBe(1);
    expect(await count(storage, id, 'execution.finished')).toBe(1);
    owners.add((await storage.getExecution('local', id))?.instanceId ?? '');
  }
  expect(owners.size).toBe(2);
});

it('kill -9 of a worker ends what it ran as lost within 30 s, and what waited runs elsewhere', {
  timeout: 120_000,
}, async () => {
  const { node, worker } = await queueSite();
  const api = await node('api', SUCCEEDS);
  const { storage } = api.service;
  const dying = await worker({ ...STALLS, CC_MAX_CONCURRENT: '1' });
  const { id: running } = await api.start({ prompt: 'first' });
  await within(20, 'it runs', async () => (await count(storage, running, 'claude.delta')) > 0);
  const { id: waiting } = await api.start({ prompt: 'second' });
  expect((await api.service.executions.get(waiting, CALLER)).queuePosition).toBe(1);
  dying.kill('SIGKILL');
  await worker(SUCCEEDS);
  expect((await finished(storage, waiting, 10)).outcome?.kind).toBe('succeeded');
  const lost = await finished(storage, running, 30);
  expect(lost).toMatchObject({ outcome: { kind: 'lost', reason: 'worker_lost' }, partialText: 'and then ' });
  expect(await count(storage, running, 'execution.started')).toBe(1);
  expect(await count(storage, running, 'execution.finished')).toBe(1);
});

it('what waited for the workspace of a killed worker is called when that one has ended, not when its delay has', {
  timeout: 120_000,
}, async () => {
  const { node, worker, redis } = await queueSite();
  const api = await node('api', SUCCEEDS);
  const { storage } = api.service;
  const dying = await worker(STALLS);
  const { id: first } = await api.start({ prompt: 'first', workspace: 'w' });
  await within(20, 'it runs', async () => (await count(storage, first, 'claude.delta')) > 0);
  const { id: second } = await api.start({ prompt: 'second', workspace: 'w' });
  const delayed = 'cce:queue:delayed';
  await within(20, 'the second is put back', async () => (await redis.command('ZCARD', delayed)) === 1);
  dying.kill('SIGKILL');
  const inAnHour = String((Date.now() + 3_600_000) * 4_096);
  await redis.command('ZADD', delayed, 'XX', inAnHour, second);
  expect(await redis.command('ZSCORE', delayed, second)).toBe(inAnHour);
  await worker(SUCCEEDS);
  expect((await finished(storage, second, 60)).outcome?.kind).toBe('succeeded');
  expect((await finished(storage, first)).outcome?.kind).toBe('lost');
});

it('a worker that was frozen past its lock writes nothing more, and its process is ended', {
  timeout: 120_000,
}, async () => {
  const { node, worker, redis } = await queueSite();
  const api = await node('api', SUCCEEDS);
  const { storage } = api.service;
  const frozen = await worker({ ...STALLS, CC_MAX_CONCURRENT: '2' });
  const { id, sessionId } = await api.start({ prompt: 'x' });
  await within(20, 'it runs', async () => (await count(storage, id, 'claude.delta')) > 0);
  expect(withArgument(`--session-id=${sessionId}`).length).toBeGreaterThan(0);
  frozen.kill('SIGSTOP');
  await worker(SUCCEEDS);
  expect((await finished(storage, id, 30)).outcome?.kind).toBe('lost');
  await within(30, 'its lock has run out', async () => (await redis.command('EXISTS', `cce:queue:${id}:lock`)) === 0);
  frozen.kill('SIGCONT');
  const { id: after } = await api.start({ prompt: 'after' });
  expect((await finished(storage, after)).outcome?.kind).toBe('succeeded');
  await waitUntil('its process is gone', () => withArgument(`--session-id=${sessionId}`).length === 0);
  expect(await count(storage, id, 'execution.finished')).toBe(1);
  expect(await count(storage, id, 'execution.started')).toBe(1);
  expect(frozen.child.exitCode).toBeNull();
  expect(frozen.log().length).toBeLessThan(20);
});

it('a worker that was cut off ends the process of a silent execution that another service has taken over', {
  timeout: 60_000,
}, async () => {
  const { node, worker, redis } = await queueSite();
  const api = await node('api', SUCCEEDS);
  const { storage } = api.service;
  await worker(STALLS);
  const { id, sessionId } = await api.start({ prompt: 'x' });
  await within(20, 'it runs', async () => (await count(storage, id, 'claude.delta')) > 0);
  const record = await storage.getExecution('local', id);
  await storage.registerInstance('another');
  await storage.takeOver(id, record?.fence ?? 0, 'another');
  await redis.command('DEL', `cce:queue:${id}:lock`);
  const gone = async (): Promise<boolean> => withArgument(`--session-id=${sessionId}`).length === 0;
  await within(20, 'its process is gone', gone);
  await within(30, 'the queue has dropped it', async () => (await redis.command('EXISTS', `cce:queue:${id}`)) === 0);
  expect(await count(storage, id, 'execution.finished')).toBe(0);
  const other = { executionId: (await api.start({ prompt: 'x' })).id, instanceId: 'another' };
  expect(await storage.claim([`session:${sessionId}`], other)).toBe(id);
});
