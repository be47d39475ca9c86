import { expect, it } from 'vitest';
import type { Execution } from '../../src/protocol/execution.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { count, finished, queueSite, within } from '../fixtures/queue-nodes.ts';
import { fakeClaude } from '../support/processes.ts';

const SLOW = { CLAUDE_BIN: fakeClaude('streams-slowly') };
const SUCCEEDS = { CLAUDE_BIN: fakeClaude('succeeds') };
const BRIEF = { FAKE_COUNT: '3', FAKE_DELAY_MS: '30' };

async function allFinished(storage: Storage, accepted: readonly Execution[]): Promise<Execution[]> {
  return Promise.all(accepted.map(({ id }) => finished(storage, id)));
}

/** Each started after the one before it had finished. */
function oneByOne(executions: readonly Execution[]): boolean {
  return executions.every((execution, index) => {
    const before = executions[index - 1]?.finishedAt ?? '';
    return execution.startedAt !== null && execution.startedAt >= before;
  });
}

it('executions of one session run in the order they came, whichever worker takes them', async () => {
  const { node } = await queueSite();
  const api = await node('api', SLOW);
  await node('all', SLOW);
  await node('all', SLOW);
  const first = await api.start({ prompt: 'x', env: BRIEF });
  const accepted = [first];
  const sessionId = first.sessionId ?? '';
  for (let turn = 0; turn < 5; turn += 1) {
    accepted.push(await api.start({ prompt: 'x', sessionId, env: BRIEF, priority: turn * 20 }));
  }
  const executions = await allFinished(api.service.storage, accepted);
  expect(executions.map(({ outcome }) => outcome?.kind)).toEqual(executions.map(() => 'succeeded'));
  expect(oneByOne(executions)).toBe(true);
});

it('executions in one workspace run in the order they came, and others go past those that wait', async () => {
  const { node } = await queueSite();
  const api = await node('api', SLOW);
  await node('all', { ...SLOW, CC_MAX_CONCURRENT: '1' });
  await node('all', { ...SLOW, CC_MAX_CONCURRENT: '1' });
  const long = await api.start({ prompt: 'x', workspace: 'w', env: { FAKE_COUNT: '30', FAKE_DELAY_MS: '100' } });
  const waiting = [];
  for (let at = 0; at < 4; at += 1) waiting.push(await api.start({ prompt: 'x', workspace: 'w', env: BRIEF }));
  const other = await api.start({ prompt: 'x', env: BRIEF });
  await finished(api.service.storage, other.id);
  expect((await api.service.storage.getExecution('local', long.id))?.execution.state).toBe('running');
  expect(oneByOne(await allFinished(api.service.storage, [long, ...waiting]))).toBe(true);
});

it('one that is cancelled while it waits for its workspace does not hold up those behind it', async () => {
  const { node } = await queueSite();
  const api = await node('api', SUCCEEDS);
  await node('all', { CLAUDE_BIN: fakeClaude('stalls') });
  const { executions, storage } = api.service;
  const [first, second] = [
    await api.start({ prompt: 'x', workspace: 'w' }),
    await api.start({ prompt: 'x', workspace: 'w' }),
  ];
  const third = await api.start({ prompt: 'x', workspace: 'w' });
  await within(20, 'the first runs', async () => (await count(storage, first.id, 'claude.delta')) > 0);
  expect((await executions.cancel(second.id, { tenant: 'local' })).state).toBe('finished');
  expect((await storage.getExecution('local', third.id))?.execution.state).toBe('queued');
  await executions.cancel(first.id, { tenant: 'local' });
  await within(20, 'the third runs', async () => (await count(storage, third.id, 'claude.delta')) > 0);
  expect(await count(storage, second.id, 'execution.started')).toBe(0);
});

it('a higher priority goes first, and within one the older', async () => {
  const { node } = await queueSite();
  const api = await node('api', SUCCEEDS);
  const accepted = [];
  for (const priority of [50, 0, 100, 50, 100]) accepted.push(await api.start({ prompt: 'x', priority }));
  const [a, lowest, b, c, d] = accepted.map(({ id }) => id);
  const positions = await Promise.all(
    accepted.map(async ({ id }) => (await api.service.executions.get(id, { tenant: 'local' })).queuePosition),
  );
  expect(positions).toEqual([3, 5, 1, 4, 2]);
  await node('all', { ...SUCCEEDS, CC_MAX_CONCURRENT: '1' });
  const executions = await allFinished(api.service.storage, accepted);
  const byStart = [...executions].sort((one, other) => ((one.startedAt ?? '') < (other.startedAt ?? '') ? -1 : 1));
  expect(byStart.map(({ id }) => id)).toEqual([b, d, a, c, lowest]);
});
