// promise: P4, P5, P8

import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { executor } from '../support/executor.ts';
import { fakeClaude, newMark, waitUntil, withArgument } from '../support/processes.ts';

const CALLER = { tenant: 'local' };
const STALL = [{ kind: 'stall' as const, when: 'mid_stream' as const, text: 'so far so good' }];

async function startedFake(behaviour: string, request: object = {}) {
  const made = await executor({ env: { CLAUDE_BIN: fakeClaude(behaviour) } });
  const { id } = await made.start({ prompt: 'hello', ...request });
  await made.eventOf(id, 'claude.delta');
  return { ...made, id };
}

it('cancel keeps the text so far and is answered at once', async () => {
  const { start, eventOf, service, follow } = await executor({ script: STALL });
  const { id } = await start({ prompt: 'x' });
  await eventOf(id, 'claude.delta');
  const answer = await service.executions.cancel(id, CALLER);
  expect(answer.cancelRequestedAt).not.toBeNull();
  const { execution } = await follow(id);
  expect(execution.outcome).toMatchObject({ kind: 'cancelled', reason: 'cancelled_by_caller' });
  expect(execution.partialText).toContain('so far');
  expect((await service.executions.cancel(id, CALLER)).outcome).toEqual(execution.outcome);
});

it.each(['ignores-interrupt', 'stalls', 'streams-slowly'])('cancel ends a program that %s', async (behaviour) => {
  const { service, id, follow } = await startedFake(behaviour, { env: { FAKE_COUNT: '100000', FAKE_DELAY_MS: '5' } });
  await service.executions.cancel(id, CALLER);
  expect((await follow(id)).execution.outcome?.kind).toBe('cancelled');
});

it('cancel ends a program and a child that ignore SIGTERM, also while paused', async () => {
  const made = await executor({ env: { CLAUDE_BIN: fakeClaude('ignores-sigterm-with-child') } });
  const { id } = await made.start({ prompt: 'hello' });
  await made.eventOf(id, 'execution.started');
  await made.service.executions.pause(id, CALLER);
  await made.service.executions.cancel(id, CALLER);
  expect((await made.follow(id)).execution.outcome?.kind).toBe('cancelled');
});

it('a forced close ends a run without grace', async () => {
  const { service, id } = await startedFake('stalls');
  await service.executions.close({ force: true });
  expect((await service.executions.get(id, CALLER)).outcome?.kind).toBe('cancelled');
});

it('the time limit ends a run with its partial text, never as a success', async () => {
  const { run } = await executor({ script: STALL });
  const { execution } = await run({ prompt: 'x', timeLimitMs: 1_500 });
  expect(execution.outcome).toMatchObject({ kind: 'timed_out', reason: 'time_limit' });
  expect(execution.partialText).toContain('so far');
  expect(execution.timeLimit).toEqual({ ms: 1_500, source: 'request' });
});

it('silence is reported once, and the run goes on', async () => {
  const { id, eventOf, service, follow } = await startedFake('stalls', { stallAfterMs: 200 });
  const stalled = await eventOf(id, 'execution.stalled');
  expect((stalled.data as { silentMs: number }).silentMs).toBeGreaterThanOrEqual(190);
  await delay(500);
  await service.executions.cancel(id, CALLER);
  const { events } = await follow(id);
  expect(events.filter(({ type }) => type === 'execution.stalled')).toHaveLength(1);
});

it('pause stops the output and every clock, resume goes on, and twice is once', async () => {
  const { id, service, follow } = await startedFake('streams-slowly', {
    env: { FAKE_COUNT: '100', FAKE_DELAY_MS: '10' },
    timeLimitMs: 4_000,
    stallAfterMs: 1_000,
  });
  expect((await service.executions.pause(id, CALLER)).state).toBe('paused');
  expect((await service.executions.pause(id, CALLER)).state).toBe('paused');
  await delay(100);
  const { lastSeq } = await service.executions.get(id, CALLER);
  await delay(4_500);
  expect((await service.executions.get(id, CALLER)).lastSeq).toBe(lastSeq);
  await service.executions.resume(id, CALLER);
  const { execution, events } = await follow(id);
  expect(execution.outcome?.kind).toBe('succeeded');
  const types = events.map(({ type }) => type);
  expect(types.filter((type) => type === 'execution.paused')).toHaveLength(1);
  expect(types).toContain('execution.resumed');
  expect(types).not.toContain('execution.stalled');
});

it('control of a finished or unknown execution is refused with the state', async () => {
  const { run, service } = await executor({ env: { CLAUDE_BIN: fakeClaude('succeeds') } });
  const { execution } = await run({ prompt: 'x' });
  const finished = { code: 'conflict', data: { state: 'finished' } };
  await expect(service.executions.pause(execution.id, CALLER)).rejects.toMatchObject(finished);
  await expect(service.executions.resume(execution.id, CALLER)).rejects.toMatchObject(finished);
  const nobody = '00000000-0000-7000-8000-000000000000';
  await expect(service.executions.cancel(nobody, CALLER)).rejects.toMatchObject({ code: 'not_found' });
  await expect(service.executions.get(execution.id, { tenant: 'other' })).rejects.toMatchObject({ code: 'not_found' });
});

it('a queued execution is cancelled without starting', async () => {
  const { start, follow, service } = await executor({
    env: { CLAUDE_BIN: fakeClaude('stalls'), CC_MAX_CONCURRENT: '1' },
  });
  await start({ prompt: 'first' });
  const second = await start({ prompt: 'second' });
  expect(second.queuePosition).toBeGreaterThanOrEqual(1);
  await service.executions.cancel(second.id, CALLER);
  const { execution, events } = await follow(second.id);
  expect(execution).toMatchObject({ outcome: { kind: 'cancelled' }, startedAt: null });
  expect(events.map(({ type }) => type)).toEqual(['execution.queued', 'execution.finished']);
});

it('the queue is bounded', async () => {
  const { start } = await executor({
    env: { CLAUDE_BIN: fakeClaude('stalls'), CC_MAX_CONCURRENT: '1', CC_QUEUE_LIMIT: '1' },
  });
  const { id } = await start({ prompt: 'runs' });
  await waitUntil(
    'the first runs',
    async () => (await start({ prompt: 'waits' }).catch(() => undefined)) !== undefined,
  );
  await expect(start({ prompt: 'too many' })).rejects.toMatchObject({ code: 'queue_full' });
  expect(id).not.toBe('');
});

it.each(['cancel', 'the time limit'])(
  'tools that leave every kind of child behind leave none after %s',
  async (end) => {
    const mark = newMark();
    const command = `setsid sleep ${mark} & nohup sleep ${mark} >/dev/null 2>&1 & (setsid sh -c 'sleep ${mark} & sleep ${mark}' &) ; env -i setsid sleep ${mark} & tail -f /dev/null`;
    const { start, follow, service } = await executor({
      script: [{ kind: 'tool_use', tools: [{ name: 'Bash', input: { command, description: 'x' } }] }],
    });
    const limit = end === 'cancel' ? {} : { timeLimitMs: 4_000 };
    const { id } = await start({ prompt: 'x', allowedTools: ['Bash'], ...limit });
    await waitUntil('the children run', () => withArgument(mark).length >= 4);
    if (end === 'cancel') await service.executions.cancel(id, CALLER);
    expect((await follow(id)).execution.outcome?.kind).toBe(end === 'cancel' ? 'cancelled' : 'timed_out');
    expect(withArgument(mark)).toEqual([]);
  },
);
