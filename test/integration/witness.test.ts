import { expect, it } from 'vitest';
import { executor } from '../support/executor.ts';

const tool = { name: 'Bash', input: { command: 'echo one', description: 'x' } };

it('every model call is in the log, as the gateway saw it', async () => {
  const { run, service } = await executor({
    script: [
      {
        kind: 'tool_use',
        tools: [tool],
        headers: { 'request-id': 'req_one' },
        usage: { inputTokens: 100, outputTokens: 7 },
      },
      {
        kind: 'text',
        text: 'done',
        headers: { 'request-id': 'req_two' },
        usage: { inputTokens: 200, outputTokens: 9 },
      },
    ],
  });
  const { execution, events } = await run({ prompt: 'x', allowedTools: ['Bash'] });
  const calls = events.filter(({ type }) => type === 'model.called').map(({ data }) => data);
  expect(calls).toMatchObject([
    {
      requestId: 'req_one',
      status: 200,
      usage: { inputTokens: 100, outputTokens: 7 },
      stopReason: 'tool_use',
      end: 'complete',
    },
    {
      requestId: 'req_two',
      status: 200,
      usage: { inputTokens: 200, outputTokens: 9 },
      stopReason: 'end_turn',
      end: 'complete',
    },
  ]);
  const seen = calls.reduce((total, call) => total + ('costUsd' in call ? Number(call.costUsd) : 0), 0);
  expect(seen).toBeCloseTo(execution.result?.usage.costUsd ?? 0, 9);
  expect((await service.executions.get(execution.id, { tenant: 'local' })).result?.usage.inputTokens).toBe(300);
});

it('a call that the end of the run breaks off is in the log too', async () => {
  const { start, eventOf, follow, service } = await executor({
    script: [{ kind: 'stall', when: 'mid_stream', text: 'so far' }],
  });
  const { id } = await start({ prompt: 'x' });
  await eventOf(id, 'claude.delta');
  await service.executions.cancel(id, { tenant: 'local' });
  const { events } = await follow(id);
  expect(events.find(({ type }) => type === 'model.called')?.data).toMatchObject({
    status: 200,
    end: 'client_closed',
    estimated: true,
  });
  expect(events.at(-1)?.type).toBe('execution.finished');
});
