import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createTranslator } from '../../src/claude/translate.ts';
import { EVENT_DATA } from '../../src/protocol/events.ts';

const samples = readFileSync(new URL('../fixtures/transcripts/wire-samples.jsonl', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '');

const typesOf = (line: string): string[] => createTranslator()(line).events.map(({ type }) => type);

it('every recorded line of the real program becomes events whose data fit their type', () => {
  const translate = createTranslator();
  for (const line of samples) {
    const { events } = translate(line);
    expect(events.length).toBeGreaterThan(0);
    for (const { type, json } of events) expect(EVENT_DATA[type].safeParse(JSON.parse(json)).success).toBe(true);
  }
});

it('a line is kept verbatim, or is a delta, never both', () => {
  const translate = createTranslator();
  for (const line of samples) {
    const { events } = translate(line);
    const verbatim = events.filter(({ type }) => type === 'claude.message');
    const deltas = events.filter(({ type }) => type === 'claude.delta');
    expect(verbatim.length + deltas.length).toBe(1);
    for (const { json } of verbatim) expect(json).toBe(line);
  }
});

it('a delta without a message id of its own belongs to the open message of its conversation', () => {
  const translate = createTranslator();
  translate('{"type":"stream_event","event":{"type":"message_start","message":{"id":"m1"}},"parent_tool_use_id":null}');
  translate('{"type":"stream_event","event":{"type":"message_start","message":{"id":"m2"}},"parent_tool_use_id":"t"}');
  const [delta] = translate(
    '{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}},"parent_tool_use_id":null}',
  ).events;
  expect(delta).toMatchObject({ type: 'claude.delta', delta: { messageId: 'm1', blockIndex: 0, text: 'x' } });
});

it('tools are told when they start and when they finish', () => {
  const use =
    '{"type":"assistant","message":{"id":"m","content":[{"type":"tool_use","id":"t","name":"Bash","input":{"command":"ls"}}]}}';
  const done =
    '{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":"äb","is_error":true}]}}';
  expect(createTranslator()(use).events[1]?.json).toBe('{"toolUseId":"t","name":"Bash","input":{"command":"ls"}}');
  expect(createTranslator()(done).events[1]?.json).toBe('{"toolUseId":"t","isError":true,"bytes":3}');
});

it('a limit that rejects carries its reset time, and one that allows is no notice', () => {
  const limit = (status: string): string =>
    `{"type":"rate_limit_event","rate_limit_info":{"status":"${status}","resetsAt":1795000000}}`;
  expect(createTranslator()(limit('rejected')).events[1]?.json).toContain('"retryAt":"2026-11-18T');
  expect(typesOf(limit('allowed'))).toEqual(['claude.message']);
  expect(createTranslator()(limit('allowed_warning')).events[1]?.json).toContain('usage_warning');
});

it('what is no JSON object is kept as stderr', () => {
  for (const line of ['hello', '[1]', '"x"', 'null', '{"type":']) expect(typesOf(line)).toEqual(['claude.stderr']);
});

it('a time beyond what a date can hold is no time', () => {
  const line = '{"type":"system","subtype":"api_retry","attempt":1,"retry_delay_ms":1e300}';
  expect(createTranslator()(line).events[1]?.json).toContain('"retryAt":null');
});

it('never throws, whatever the line', () => {
  const known = fc.constantFrom(
    'assistant',
    'user',
    'stream_event',
    'result',
    'rate_limit_event',
    'system',
    '__proto__',
    'constructor',
  );
  const message = fc.record(
    { type: known, subtype: fc.anything(), message: fc.anything(), event: fc.anything() },
    { requiredKeys: ['type'] },
  );
  const line = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.json(),
    message.map((value) => JSON.stringify(value) ?? ''),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), (lines) => {
      const translate = createTranslator();
      for (const each of lines) {
        for (const { json } of translate(each).events) JSON.parse(json);
      }
    }),
    { numRuns: 2000 },
  );
});

it('a recorded line with any one part replaced never throws', () => {
  fc.assert(
    fc.property(fc.constantFrom(...samples), fc.nat(), fc.jsonValue(), (line, at, value) => {
      const keys = [...line.matchAll(/"[a-z_A-Z]+":/g)];
      const key = keys[at % keys.length];
      const mutated = line.replace(key?.[0] ?? '', `${key?.[0] ?? ''}${JSON.stringify(value)},"x":`);
      createTranslator()(mutated);
    }),
    { numRuns: 2000 },
  );
});
