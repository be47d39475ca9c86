import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readMessage } from '../../src/claude/messages.ts';
import { nothingObserved, type Observed, observe } from '../../src/claude/observed.ts';
import { decideOutcome, type Ending } from '../../src/claude/outcome.ts';
import { Outcome } from '../../src/protocol/execution.ts';

function observed(...lines: object[]): Observed {
  const all = nothingObserved();
  for (const line of lines) {
    const { known } = readMessage(JSON.stringify(line));
    if (known !== undefined) observe(all, known);
  }
  return all;
}

const ended = (change: Partial<Ending>): Ending => ({
  observed: nothingObserved(),
  stop: undefined,
  exit: { exitCode: 0, signal: null },
  endedByService: false,
  gatewayRefusal: null,
  stderrTail: '',
  outputProblem: undefined,
  ...change,
});

const result = (more: object = {}) => ({
  type: 'result',
  subtype: 'success',
  is_error: false,
  result: 'x',
  terminal_reason: 'completed',
  ...more,
});
const outcomeOf = (line: object, change: Partial<Ending> = {}) =>
  decideOutcome(ended({ observed: observed(line), ...change }));

it('success is a result without error, completed, and a process that ended as told', () => {
  expect(outcomeOf(result())).toMatchObject({ kind: 'succeeded', reason: null, exitCode: 0 });
});

it.each([
  ['is_error', result({ is_error: true })],
  ['is_error absent', { type: 'result', subtype: 'success' }],
  ['another terminal reason', result({ terminal_reason: 'hook_stopped' })],
  ['an error subtype', result({ subtype: 'error_during_execution' })],
  ['a refusal', result({ stop_reason: 'refusal' })],
])('with %s it is no success, whatever the subtype says', (_title, line) => {
  expect(outcomeOf(line).kind).toBe('failed');
});

it('a good result and a bad exit are a crash, unless the service ended the process itself', () => {
  const exit = { exitCode: null, signal: 'SIGSEGV' };
  expect(outcomeOf(result(), { exit })).toMatchObject({ kind: 'failed', reason: 'cli_crashed', signal: 'SIGSEGV' });
  expect(outcomeOf(result(), { exit, endedByService: true }).kind).toBe('succeeded');
});

it('no result is a crash with the last words, or with a word that there were none', () => {
  const exit = { exitCode: 7, signal: null };
  expect(decideOutcome(ended({ exit, stderrTail: 'bad flag' })).message).toMatch(/exit code 7.*bad flag/);
  expect(decideOutcome(ended({ exit })).message).toMatch(/nothing on stderr/);
});

it('what the service stopped is what the service says', () => {
  const stop = { kind: 'timed_out', reason: 'time_limit', text: 'too long' } as const;
  expect(outcomeOf(result(), { stop })).toMatchObject({ kind: 'timed_out', reason: 'time_limit', message: 'too long' });
});

it('402 is the budget only when the gateway refused for it', () => {
  const line = result({ is_error: true, terminal_reason: 'api_error', api_error_status: 402 });
  expect(outcomeOf(line, { gatewayRefusal: 'budget' }).reason).toBe('budget');
  expect(outcomeOf(line).reason).toBe('usage_limit');
});

it('a start-up failure that the program can name is spawn_failed', () => {
  expect(outcomeOf(result({ is_error: true, startup_failure_reason: 'bypass_root' })).reason).toBe('spawn_failed');
});

it('an error of the model that a later answer followed does not count', () => {
  const failed = { type: 'assistant', error: 'rate_limit', message: { id: 'a', content: [] } };
  const good = { type: 'assistant', message: { id: 'b', content: [] } };
  expect(observed(failed, good).assistantError).toBeUndefined();
});

it('any result gives an outcome of the contract, and never a success by accident', () => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.constantFrom('subtype', 'terminal_reason', 'stop_reason', 'api_error_status', 'errors'),
        fc.jsonValue(),
      ),
      (more) => {
        const outcome = outcomeOf({ ...more, type: 'result', is_error: true });
        expect(Outcome.safeParse(outcome).success).toBe(true);
        expect(outcome.kind).toBe('failed');
      },
    ),
  );
});
