import fc from 'fast-check';
import { expect, it } from 'vitest';
import { applyStored, OutputText } from '../../src/claude/output-text.ts';
import { createTranslator } from '../../src/claude/translate.ts';
import type { StoredEvent } from '../../src/protocol/events.ts';

const delta = (messageId: string, blockIndex: number, text: string) => ({
  messageId,
  blockIndex,
  parentToolUseId: null,
  text,
});
const assistant = (id: string, text: string, model = 'm') => ({
  type: 'assistant' as const,
  message: { id, model, content: [{ type: 'text', text }] },
});

it('deltas build the text, and the finished block replaces what they said', () => {
  const output = new OutputText();
  output.delta(delta('a', 0, 'Hel'));
  output.delta(delta('a', 0, 'lo'));
  expect(output.toString()).toBe('Hello');
  output.message(assistant('a', 'Hello.'));
  output.delta(delta('a', 2, 'More'));
  expect(output.toString()).toBe('Hello.\n\nMore');
});

it('voided blocks go, from the block named on', () => {
  const output = new OutputText();
  output.delta(delta('a', 0, 'kept'));
  output.delta(delta('a', 1, 'void'));
  output.delta(delta('b', 1, 'other'));
  output.voided({ messageId: 'a', fromBlock: 1 });
  expect(output.toString()).toBe('kept\n\nother');
});

it('subagents and error texts of the program itself do not count', () => {
  const output = new OutputText();
  output.delta({ ...delta('a', 0, 'sub'), parentToolUseId: 't' });
  output.message({ ...assistant('b', 'sub'), parent_tool_use_id: 't' });
  output.message(assistant('c', 'API Error', '<synthetic>'));
  expect(output.toString()).toBe('');
});

/** Does with lines what a run does: folds them as they come, and stores their events. */
function runLive(lines: string[]): { live: OutputText; stored: StoredEvent[] } {
  const translate = createTranslator();
  const live = new OutputText();
  const stored: StoredEvent[] = [];
  for (const { events, message } of lines.map(translate)) {
    for (const { type, json, delta: part, voided } of events) {
      if (part !== undefined) live.delta(part);
      if (voided !== undefined) live.voided(voided);
      stored.push({ seq: stored.length + 1, type, bytes: `{"data":${json}}` });
    }
    if (message !== undefined) live.message(message);
  }
  return { live, stored };
}

it('the same log gives the same text live and read back', () => {
  const line = fc.oneof(
    fc.record({ id: fc.constantFrom('a', 'b'), index: fc.nat(3), text: fc.string() }).map(({ id, index, text }) =>
      JSON.stringify({
        type: 'stream_event',
        event: { type: 'content_block_delta', index, delta: { type: 'text_delta', text } },
        parent_tool_use_id: null,
        api_message_id: id,
      }),
    ),
    fc
      .record({ id: fc.constantFrom('a', 'b'), text: fc.string() })
      .map(({ id, text }) => JSON.stringify(assistant(id, text))),
    fc.record({ id: fc.constantFrom('a', 'b'), from: fc.nat(3) }).map(({ id, from }) =>
      JSON.stringify({
        type: 'stream_event',
        event: { type: 'message_stop', abandoned_blocks: { api_message_id: id, from_block_index: from } },
      }),
    ),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 40 }), (lines) => {
      const { live, stored } = runLive(lines);
      const readBack = new OutputText();
      applyStored(readBack, stored);
      expect(readBack.toString()).toBe(live.toString());
    }),
  );
});

it('of an endless text the end is kept', () => {
  const output = new OutputText();
  for (let index = 0; index < 200; index += 1) output.delta(delta('a', 0, `${index}${'x'.repeat(100_000)}`));
  expect(output.toString().length).toBeLessThanOrEqual(4 * 1024 * 1024);
  expect(output.toString()).toContain('199x');
});
