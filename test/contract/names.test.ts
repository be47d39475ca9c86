import { expect, test } from 'vitest';
import { EVENT_TYPES } from '../../src/protocol/events.ts';
import { EXECUTION_STATES, OUTCOME_KINDS, REASONS } from '../../src/protocol/execution.ts';

test('the event types are those of the contract', () => {
  expect([...EVENT_TYPES].sort()).toEqual([
    'approval.requested',
    'approval.resolved',
    'check.finished',
    'claude.delta',
    'claude.message',
    'claude.stderr',
    'claude.voided',
    'egress.denied',
    'execution.finished',
    'execution.paused',
    'execution.queued',
    'execution.resumed',
    'execution.retrying',
    'execution.stalled',
    'execution.started',
    'limit.notice',
    'model.called',
    'tool.finished',
    'tool.started',
  ]);
});

test('the states and outcomes are those of the contract', () => {
  expect([...EXECUTION_STATES]).toEqual(['queued', 'running', 'paused', 'waiting_approval', 'finished']);
  expect([...OUTCOME_KINDS]).toEqual(['succeeded', 'failed', 'cancelled', 'timed_out', 'lost']);
});

test('the reason codes are those of the contract', () => {
  const names =
    'auth_failed rate_limited usage_limit overloaded model_error max_turns budget prompt_too_long output_invalid refused ' +
    'invalid_model output_too_large check_failed tool_denied cli_missing spawn_failed cli_crashed time_limit storage_full ' +
    'worker_lost cancelled_by_caller';
  expect([...REASONS]).toEqual(names.split(' '));
});
