import { expect, test } from 'vitest';
import { JsonMeter } from '../../src/model-gateway/json-meter.ts';
import { SseMeter } from '../../src/model-gateway/sse-meter.ts';

const start = `event: message_start\ndata: ${JSON.stringify({
  type: 'message_start',
  message: {
    model: 'claude-sonnet-5-5',
    usage: {
      ...{ input_tokens: 100, output_tokens: 1, cache_read_input_tokens: 7, cache_creation_input_tokens: 50 },
      cache_creation: { ephemeral_5m_input_tokens: 30, ephemeral_1h_input_tokens: 20 },
    },
  },
})}\n\n`;
const delta = (text: string) =>
  `event: content_block_delta\ndata: ${JSON.stringify({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })}\n\n`;
const end = `event: message_delta\ndata: ${JSON.stringify({
  type: 'message_delta',
  delta: { stop_reason: 'end_turn' },
  usage: { output_tokens: 42 },
})}\n\n`;

function meterOf(stream: string, pieceSize: number): SseMeter {
  const meter = new SseMeter();
  const bytes = Buffer.from(stream);
  for (let at = 0; at < bytes.length; at += pieceSize) {
    meter.feed(bytes.subarray(at, at + pieceSize));
  }
  return meter;
}

test.each([1, 2, 7, 64, 100_000])('a stream in pieces of %i bytes gives model, usage and stop reason', (size) => {
  expect(meterOf(`${start}event: ping\ndata: {"type":"ping"}\n\n${delta('né "x"')}${end}`, size).read()).toEqual({
    model: 'claude-sonnet-5-5',
    stopReason: 'end_turn',
    estimated: false,
    usage: {
      ...{ inputTokens: 100, outputTokens: 42, cacheReadTokens: 7 },
      ...{ cacheCreation5mTokens: 30, cacheCreation1hTokens: 20 },
      ...{ webSearches: 0, speed: 'standard', inferenceGeo: null },
    },
  });
});

test('line ends of both kinds, comments and data without an event name are read', () => {
  const stream = `: hello\n\n${start.replaceAll('\n', '\r\n')}${end.replace('event: message_delta\n', '')}`;
  const reading = meterOf(stream, 5).read();
  expect([reading.model, reading.usage.outputTokens]).toEqual(['claude-sonnet-5-5', 42]);
});

test('a stream that is cut off counts a quarter of its text as output tokens', () => {
  const reading = meterOf(start + delta('x'.repeat(400)) + delta('y'.repeat(400)), 50).read();
  expect([reading.usage.outputTokens, reading.estimated, reading.usage.inputTokens]).toEqual([200, true, 100]);
});

test('text that looks like a frame is not taken for one', () => {
  const reading = meterOf(start + delta(end) + delta('event: message_delta\n\ndata: {}'), 3).read();
  expect(reading.estimated).toBe(true);
});

test('a frame longer than the bound is passed over, and the next one is read', () => {
  const huge = `event: message_delta\ndata: {"type":"message_delta","delta":{},"x":"${'x'.repeat(300_000)}","usage":{"output_tokens":9}}\n\n`;
  const reading = meterOf(start + huge + end, 4096).read();
  expect(reading.usage.outputTokens).toBe(42);
});

test('a delta of 20 MB is counted without being kept', () => {
  const meter = new SseMeter();
  meter.feed(Buffer.from(start));
  meter.feed(
    Buffer.from(
      'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"',
    ),
  );
  const piece = Buffer.alloc(64 * 1024, 120);
  const before = process.memoryUsage();
  for (let sent = 0; sent < 320; sent += 1) {
    meter.feed(piece);
  }
  const after = process.memoryUsage();
  meter.feed(Buffer.from('"}}\n\n'));
  expect(meter.read().usage.outputTokens).toBe((320 * 64 * 1024) / 4);
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(5_000_000);
});

test('numbers that are not numbers, and frames that are not JSON, count as absent', () => {
  const bad =
    'event: message_start\ndata: {"type":"message_start","message":{"model":7,"usage":{"input_tokens":"9","output_tokens":-5}}}\n\n';
  const reading = meterOf(`event: message_delta\ndata: {nonsense\n\n${bad}`, 10).read();
  expect([reading.model, reading.usage.inputTokens, reading.usage.outputTokens]).toEqual([null, 0, 0]);
});

test('an answer that is not streamed is read once it is whole, and estimated before', () => {
  const meter = new JsonMeter();
  const json = JSON.stringify({
    model: 'claude-opus-5-5',
    stop_reason: 'max_tokens',
    usage: { input_tokens: 3, output_tokens: 8 },
  });
  meter.feed(Buffer.from(json.slice(0, 40)));
  expect([meter.read().estimated, meter.read().usage.outputTokens]).toEqual([true, 10]);
  meter.feed(Buffer.from(json.slice(40)));
  meter.end();
  expect(meter.read()).toMatchObject({ model: 'claude-opus-5-5', stopReason: 'max_tokens', estimated: false });
  expect(meter.read().usage.outputTokens).toBe(8);
});
