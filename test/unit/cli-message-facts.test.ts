import fc from 'fast-check';
import { expect, test } from 'vitest';
import { answerTexts, costOf, failedTools, tokensOf } from '../../src/cli/message-facts.ts';

const usage = { input_tokens: 10, output_tokens: 5, cache_read_input_tokens: 100 };

test('the tokens of a message are told by its start and by the message itself', () => {
  const message = { id: 'msg_1', usage };
  expect(tokensOf({ type: 'assistant', message })).toEqual({ id: 'msg_1', tokens: 115 });
  const event = { type: 'message_start', message };
  expect(tokensOf({ type: 'stream_event', event })).toEqual({ id: 'msg_1', tokens: 115 });
  expect(tokensOf({ type: 'user', message: { role: 'user' } })).toBeUndefined();
});

test('the cost is told by a result alone', () => {
  expect(costOf({ type: 'result', total_cost_usd: 0.5 })).toBe(0.5);
  expect(costOf({ type: 'assistant', total_cost_usd: 0.5 })).toBeUndefined();
});

test('the answer is that of the main conversation, without the notices of the CLI', () => {
  const content = [{ type: 'thinking', thinking: 'hm' }, { type: 'text', text: 'Hello' }, { type: 'tool_use' }];
  const message = { id: 'msg_1', model: 'claude', content };
  expect(answerTexts({ type: 'assistant', message })).toEqual({ id: 'msg_1', texts: ['Hello'] });
  expect(answerTexts({ type: 'assistant', parent_tool_use_id: 'toolu_1', message })).toBeUndefined();
  expect(answerTexts({ type: 'assistant', message: { ...message, model: '<synthetic>' } })).toBeUndefined();
});

test('a failed tool says why, whatever form its content has', () => {
  const failed = (content: unknown) => ({ type: 'tool_result', tool_use_id: 'toolu_1', is_error: true, content });
  const whyOf = (content: unknown) =>
    failedTools({ type: 'user', message: { content: [failed(content)] } }).map(({ why }) => why);
  expect(whyOf('<tool_use_error>No such file')).toEqual(['No such file']);
  expect(whyOf([{ type: 'text', text: 'Exit code 2' }])).toEqual(['Exit code 2']);
  expect(whyOf(undefined)).toEqual(['']);
  const fine = { type: 'tool_result', tool_use_id: 'toolu_1', content: 'ok' };
  expect(failedTools({ type: 'user', message: { content: [fine] } })).toEqual([]);
});

test('no line of the CLI, however odd, is too much', () => {
  const line = fc.dictionary(fc.constantFrom('type', 'message', 'event', 'parent_tool_use_id'), fc.jsonValue());
  fc.assert(
    fc.property(line, (odd) => {
      for (const read of [tokensOf, costOf, answerTexts, failedTools]) read({ ...odd });
    }),
  );
});
