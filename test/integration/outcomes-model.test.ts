import { expect, it } from 'vitest';
import type { StepInput } from '../../src/scripted-model/steps.ts';
import { executor } from '../support/executor.ts';

const error = (status: number, more: Partial<Extract<StepInput, { kind: 'http_error' }>> = {}): StepInput[] => [
  { kind: 'http_error', status, ...more },
];

interface Case {
  title: string;
  script: StepInput[];
  reason: string;
  says: RegExp;
  env?: Record<string, string>;
  request?: object;
}

const CASES: Case[] = [
  {
    title: '401',
    script: error(401, { type: 'authentication_error' }),
    reason: 'auth_failed',
    says: /refused the credential.*401.*doctor/s,
  },
  {
    title: '403',
    script: error(403, { type: 'permission_error' }),
    reason: 'auth_failed',
    says: /refused the credential.*403/s,
  },
  {
    title: '404 for the model',
    script: error(404, { type: 'not_found_error', message: 'model: nope' }),
    reason: 'invalid_model',
    says: /model/,
  },
  {
    title: '400',
    script: error(400, { type: 'invalid_request_error', message: 'odd request' }),
    reason: 'model_error',
    says: /odd request/,
  },
  {
    title: 'a prompt that is too long',
    script: error(400, {
      type: 'invalid_request_error',
      message: 'prompt is too long: 300000 tokens > 200000 maximum',
    }),
    reason: 'prompt_too_long',
    says: /too long/i,
  },
  { title: '429', script: error(429, { type: 'rate_limit_error' }), reason: 'rate_limited', says: /429|rate/i },
  { title: '500', script: error(500), reason: 'model_error', says: /500|error/i },
  {
    title: '529',
    script: error(529, { type: 'overloaded_error', message: 'Overloaded' }),
    reason: 'overloaded',
    says: /529|overload/i,
  },
  {
    title: 'a low credit balance',
    script: error(400, {
      type: 'invalid_request_error',
      message: 'Your credit balance is too low to access the Anthropic API.',
    }),
    reason: 'usage_limit',
    says: /credit balance/i,
  },
  { title: 'a refusal', script: [{ kind: 'refusal' }], reason: 'refused', says: /./ },
  {
    title: 'an answer that outgrows the output tokens',
    script: [{ kind: 'max_tokens' }],
    reason: 'output_too_large',
    says: /output token/,
  },
  { title: 'a stream that breaks again and again', script: [{ kind: 'reset' }], reason: 'model_error', says: /./ },
];

it.each(CASES)('$title ends as $reason, and says so', async ({ script, reason, says, request }) => {
  const { run } = await executor({ script });
  const { execution, events } = await run({ prompt: 'hi', ...request });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason });
  expect(execution.outcome?.message).toMatch(says);
  expect(events.at(-1)).toMatchObject({ type: 'execution.finished', data: { outcome: execution.outcome } });
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
});

it('a usage limit ends at once and carries its reset time', async () => {
  const resetsAt = Math.floor(Date.now() / 1000) + 3600;
  const { run } = await executor({
    script: error(429, {
      type: 'rate_limit_error',
      headers: {
        'anthropic-ratelimit-unified-status': 'rejected',
        'anthropic-ratelimit-unified-reset': String(resetsAt),
        'anthropic-ratelimit-unified-representative-claim': 'five_hour',
      },
    }),
    env: { ANTHROPIC_API_KEY: '', CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-test' },
  });
  const { execution, events } = await run({ prompt: 'hi' });
  const resetAt = new Date(resetsAt * 1000).toISOString();
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'usage_limit' });
  expect(execution.outcome?.message).toContain(resetAt);
  expect(events.find(({ type }) => type === 'limit.notice')?.data).toMatchObject({
    kind: 'usage_limit',
    retryAt: resetAt,
  });
});

it('a retry of the CLI is told as a limit notice with its time', async () => {
  const { run } = await executor({
    script: [
      { kind: 'http_error', status: 529, type: 'overloaded_error' },
      { kind: 'text', text: 'late' },
    ],
  });
  const { execution, events } = await run({ prompt: 'hi' });
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(events.find(({ type }) => type === 'limit.notice')?.data).toMatchObject({ kind: 'overloaded', attempt: 1 });
});

it('max turns ends as such, after the tool of the last turn ran', async () => {
  const { run } = await executor({
    script: [{ kind: 'tool_use', tools: [{ name: 'Bash', input: { command: 'echo one', description: 'x' } }] }],
  });
  const { execution, events } = await run({ prompt: 'hi', maxTurns: 1, allowedTools: ['Bash'] });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'max_turns' });
  expect(events.some(({ type }) => type === 'tool.finished')).toBe(true);
});

it('a spent budget is refused by the gateway before the next call', async () => {
  const expensive = { inputTokens: 50_000, outputTokens: 5_000 };
  const { run, model } = await executor({
    script: [
      {
        kind: 'tool_use',
        tools: [{ name: 'Bash', input: { command: 'echo one', description: 'x' } }],
        usage: expensive,
      },
    ],
  });
  const { execution } = await run({ prompt: 'hi', maxBudgetUsd: 0.01, allowedTools: ['Bash'] });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'budget' });
  expect(model.requests.filter(({ path }) => path.startsWith('/v1/messages'))).toHaveLength(1);
});

it('a denied tool alone leaves the outcome of the CLI and is listed', async () => {
  const { run } = await executor({
    script: [
      { kind: 'tool_use', tools: [{ name: 'Write', input: { file_path: '/etc/nope', content: 'x' } }] },
      { kind: 'text', text: 'I may not.' },
    ],
  });
  const { execution } = await run({ prompt: 'hi' });
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(execution.denials).toMatchObject([{ name: 'Write' }]);
});

it('text that a broken stream voided does not count, and the retry does', async () => {
  const { run } = await executor({
    script: [
      { kind: 'reset', text: 'half an answer that is void', deltaSize: 5, deltaEveryMs: 60 },
      { kind: 'text', text: 'the whole answer' },
    ],
  });
  const { execution, events } = await run({ prompt: 'hi' });
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(execution.partialText).toBe('the whole answer');
  expect(events.some(({ type }) => type === 'claude.voided')).toBe(true);
});
