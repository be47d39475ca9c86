import type { Execution } from './execution.ts';
import type { ExecutionRequestInput } from './execution-request.ts';
import type { Problem } from './problem.ts';

const SESSION_ID = '01940000-0000-7000-8000-000000000002';

export const REQUEST_EXAMPLE: ExecutionRequestInput = {
  prompt: 'Write the answer to life, the universe and everything into answer.txt.',
  model: 'sonnet',
  allowedTools: ['Write'],
  maxBudgetUsd: 0.5,
  timeLimitMs: 600_000,
  metadata: { ticket: 'A-42' },
};

export const EXECUTION_EXAMPLE: Execution = {
  id: '01940000-0000-7000-8000-000000000001',
  state: 'finished',
  outcome: { kind: 'succeeded', reason: null, message: null, exitCode: 0, signal: null },
  result: {
    text: 'answer.txt now holds 42.',
    structured: null,
    turns: 2,
    usage: {
      inputTokens: 12,
      outputTokens: 98,
      cacheReadTokens: 15_000,
      cacheCreationTokens: 420,
      costUsd: 0.0087,
    },
    durationMs: 4_210,
    apiDurationMs: 3_870,
  },
  partialText: 'answer.txt now holds 42.',
  sessionId: SESSION_ID,
  workspace: '01940000-0000-7000-8000-000000000001',
  model: 'sonnet',
  cli: { version: '2.1.330' },
  attempt: 1,
  timeLimit: { ms: 600_000, source: 'request' },
  lastSeq: 17,
  receiptId: null,
  cancelRequestedAt: null,
  denials: [],
  isolation: 'L1',
  egress: 'open',
  queuePosition: null,
  createdAt: '2025-01-01T00:00:00.000Z',
  startedAt: '2025-01-01T00:00:00.120Z',
  finishedAt: '2025-01-01T00:00:04.611Z',
  metadata: { ticket: 'A-42' },
};

export const PROBLEM_EXAMPLE: Problem = {
  type: 'urn:cc-executor:problem:invalid_request',
  title: 'The request is not valid',
  status: 400,
  detail: 'maxTurns must be at least 1',
  code: 'invalid_request',
  requestId: '01940000-0000-7000-8000-000000000003',
  errors: [{ path: 'maxTurns', message: 'must be at least 1' }],
};
