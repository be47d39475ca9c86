import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { profileOf, type WarmProfile } from '../../src/executions/warm-profile.ts';
import { WarmWishes } from '../../src/executions/warm-wishes.ts';
import { type ExecutionRequestInput, parseExecutionRequest } from '../../src/protocol/execution-request.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const LOCAL = { tenant: 'local' };

function profile(request: Omit<ExecutionRequestInput, 'prompt'>, caller = LOCAL): WarmProfile {
  const found = profileOf(parseExecutionRequest({ prompt: 'x', ...request }), caller, {
    defaultModel: 'sonnet',
    operatorKind: 'api_key',
    egress: 'open',
    isolationLevel: 'L1',
  });
  if (found === undefined) throw new Error('there is no profile');
  return found;
}

const usual = profile({});
const shares = (wishes: WarmWishes, isPossible: (one: WarmProfile) => boolean = () => true): [string, number][] =>
  wishes.shares(isPossible).map((share) => [share.profile.model, share.count]);

it('without a wish, and when all are forgotten, the usual profile gets all', () => {
  const wishes = new WarmWishes(3, usual);
  expect(shares(wishes)).toEqual([['sonnet', 3]]);
  wishes.add(profile({ model: 'opus' }));
  expect(shares(wishes)).toEqual([['opus', 3]]);
  vi.advanceTimersByTime(10 * 60_000 + 1);
  expect(shares(wishes)).toEqual([['sonnet', 3]]);
});

it('the latest distinct wishes share, the most recent first', () => {
  const wishes = new WarmWishes(3, usual);
  for (const model of ['a', 'b', 'a']) wishes.add(profile({ model }));
  expect(shares(wishes)).toEqual([
    ['a', 2],
    ['b', 1],
  ]);
  for (const model of ['c', 'd']) wishes.add(profile({ model }));
  expect(shares(wishes)).toEqual([
    ['d', 1],
    ['c', 1],
    ['a', 1],
  ]);
});

it('one process serves the last wish, and what is not possible gets none', () => {
  const wishes = new WarmWishes(1, usual);
  for (const model of ['a', 'b']) wishes.add(profile({ model }));
  expect(shares(wishes)).toEqual([['b', 1]]);
  expect(shares(wishes, ({ model }) => model !== 'b')).toEqual([['sonnet', 1]]);
});

it('a profile holds all that a process is started with, and nothing of one run alone', () => {
  const same = profile({ timeLimitMs: 5, metadata: { a: 'b' }, priority: 1, idempotencyKey: 'k', retry: { max: 1 } });
  expect(same.key).toBe(usual.key);
  const others = [
    profile({ workspace: 'shop' }),
    profile({ maxTurns: 1 }),
    profile({ tools: [] }),
    profile({ allowedTools: ['Read'] }),
    profile({ systemPrompt: 'x' }),
    profile({ appendSystemPrompt: 'x' }),
    profile({ outputSchema: { type: 'object' } }),
    profile({ permissionMode: 'plan' }),
    profile({ partialMessages: false }),
    profile({}, { tenant: 'other' }),
  ];
  expect(new Set([usual, ...others].map(({ key }) => key)).size).toBe(11);
  expect(profile({ workspace: 'shop' }).key).toBe(profile({ workspace: 'other' }).key);
});

it('a run that needs an environment, servers, a session or a folder of somebody’s own has no profile', () => {
  const none = (
    request: Omit<ExecutionRequestInput, 'prompt'>,
    caller: { tenant: string; directory?: string } = LOCAL,
  ) =>
    profileOf(parseExecutionRequest({ prompt: 'x', ...request }), caller, {
      defaultModel: 'sonnet',
      egress: 'open',
      operatorKind: 'api_key',
      isolationLevel: 'L1',
    });
  const sessionId = '00000000-0000-7000-8000-000000000000';
  expect([
    none({ env: { A: 'b' } }),
    none({ mcpServers: {} }),
    none({ sessionId }),
    none({ workspace: 'lent:shop' }),
    none({}, { tenant: 'local', directory: '/srv' }),
  ]).toEqual([undefined, undefined, undefined, undefined, undefined]);
  expect(none({ workspace: 'shop' }, { tenant: 'local', directory: '/srv' })?.kind).toBe('named');
});
