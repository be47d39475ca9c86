import { expect, it, onTestFinished } from 'vitest';
import type { ControlRequest, RemoteControl } from '../../src/executions/remote-control.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { ServiceError } from '../../src/protocol/errors.ts';
import type { Execution } from '../../src/protocol/execution.ts';
import { newId } from '../../src/protocol/ids.ts';
import { openControlChannel } from '../../src/queue/control-channel.ts';
import { CALLER, count, finished, queueSite, within } from '../fixtures/queue-nodes.ts';
import { executionOf } from '../support/execution-records.ts';
import { fakeClaude } from '../support/processes.ts';
import { type RedisServer, redisServer } from '../support/redis-server.ts';

async function channel(
  { url }: RedisServer,
  instanceId: string,
  handle: (request: ControlRequest) => Promise<Execution>,
): Promise<RemoteControl & { close(): Promise<void> }> {
  const opened = await openControlChannel({ url, instanceId, handle, logger: createLogger('silent') });
  onTestFinished(() => opened.close());
  return opened;
}

const nothing = (): Promise<Execution> => Promise.reject(new Error('nothing is asked here'));

it('pause, resume, input and cancel reach an execution that runs in another process', { timeout: 60_000 }, async () => {
  const { node, worker } = await queueSite();
  const api = await node('api', {});
  const { executions, storage } = api.service;
  await worker({ CLAUDE_BIN: fakeClaude('streams-slowly') });
  const { id } = await api.start({ prompt: 'x', env: { FAKE_COUNT: '100', FAKE_DELAY_MS: '50' } });
  await within(20, 'it speaks', async () => (await count(storage, id, 'claude.delta')) > 0);
  expect((await executions.get(id, CALLER)).partialText).toContain('word0');
  expect((await executions.pause(id, CALLER)).state).toBe('paused');
  await expect(executions.addInput(id, 'more', CALLER)).resolves.toMatchObject({ id });
  expect((await executions.resume(id, CALLER)).state).toBe('running');
  expect((await executions.cancel(id, CALLER)).cancelRequestedAt).not.toBeNull();
  expect((await finished(storage, id)).outcome?.kind).toBe('cancelled');
  await expect(executions.pause(id, CALLER)).rejects.toMatchObject({ code: 'conflict', data: { state: 'finished' } });
});

it('a refusal travels with code, message and data, and a defect says no more than that it is one', async () => {
  const redis = await redisServer();
  const asker = await channel(redis, 'asker', nothing);
  await channel(redis, 'owner', async ({ action }) => {
    if (action === 'pause') throw new ServiceError('conflict', 'It is over', { data: { state: 'finished' } });
    throw new Error('secret');
  });
  const request = { tenant: 'local', executionId: newId() };
  await expect(asker.ask('owner', { ...request, action: 'pause' })).rejects.toMatchObject({
    code: 'conflict',
    message: 'It is over',
    data: { state: 'finished' },
  });
  const defect = await asker.ask('owner', { ...request, action: 'cancel' }).catch((error: unknown) => error);
  expect(defect).toMatchObject({ code: 'internal' });
  expect(String(defect)).not.toContain('secret');
});

it('an instance that is gone is known at once, and one that is silent is given up', async () => {
  const redis = await redisServer();
  const asker = await channel(redis, 'asker', nothing);
  await channel(redis, 'silent', () => new Promise(() => {}));
  const request: ControlRequest = { tenant: 'local', executionId: newId(), action: 'snapshot' };
  await expect(asker.ask('nobody', request)).rejects.toMatchObject({ code: 'not_running' });
  await expect(asker.ask('silent', request)).rejects.toMatchObject({ code: 'not_running' });
});

it('more than 1,000 open questions are refused', async () => {
  const redis = await redisServer();
  const asker = await channel(redis, 'asker', nothing);
  const answers: (() => void)[] = [];
  await channel(redis, 'owner', async () => {
    await new Promise<void>((resolve) => answers.push(resolve));
    return executionOf();
  });
  const request: ControlRequest = { tenant: 'local', executionId: newId(), action: 'cancel' };
  const open = Array.from({ length: 1_000 }, () => asker.ask('owner', request));
  await expect(asker.ask('owner', request)).rejects.toMatchObject({ code: 'too_many' });
  await within(5, 'all have arrived', async () => answers.length === 1_000);
  for (const answer of answers) answer();
  expect(await Promise.all(open)).toHaveLength(1_000);
});

it('what is no question is left unanswered, and the channel goes on after it and after a restart of Redis', async () => {
  const redis = await redisServer();
  const asker = await channel(redis, 'asker', nothing);
  const execution = executionOf();
  const asked: ControlRequest[] = [];
  await channel(redis, 'owner', async (request) => {
    asked.push(request);
    return execution;
  });
  const request: ControlRequest = { tenant: 'local', executionId: newId(), action: 'input', text: 'é' };
  const forged = { id: newId(), from: 'asker', request: { ...request, action: 'more' } };
  for (const text of ['', '{', '{}', JSON.stringify(forged)]) {
    await redis.command('PUBLISH', 'cce:control:owner', text);
    await redis.command('PUBLISH', 'cce:answers:asker', text);
  }
  expect(await asker.ask('owner', request)).toEqual(execution);
  expect(asked).toEqual([request]);
  await redis.kill();
  await expect(asker.ask('owner', request)).rejects.toMatchObject({ code: 'storage_unavailable' });
  await redis.start();
  const answered = await within(10, 'an answer', () => asker.ask('owner', request).catch(() => undefined));
  expect(answered).toEqual(execution);
});
