import { describe, expect, it } from 'vitest';
import { SseOverflow, SseParser } from '../../src/client/sse-parser.ts';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** All messages of a stream that comes in pieces of `size` bytes. */
function parsed(text: string, size = Number.POSITIVE_INFINITY): { id: string; event: string; data: string }[] {
  const parser = new SseParser();
  const bytes = encode(text);
  const messages = [];
  for (let at = 0; at < bytes.length; at += Math.min(size, bytes.length)) {
    messages.push(...parser.push(bytes.subarray(at, at + size)));
  }
  return messages;
}

it('a message has an id, an event and its data', () => {
  expect(parsed('id: 7\nevent: claude.delta\ndata: {"a":1}\n\n')).toEqual([
    { id: '7', event: 'claude.delta', data: '{"a":1}' },
  ]);
});

it.each([
  ['LF', '\n'],
  ['CR', '\r'],
  ['CRLF', '\r\n'],
])('lines end with %s, wherever the stream is split', (_, end) => {
  const text = ['id: 1', 'data: a', '', ': comment', '', 'data: ü€😀', 'data:', 'id: 2', '', ''].join(end);
  const whole = parsed(text);
  expect(whole).toEqual([
    { id: '1', event: 'message', data: 'a' },
    { id: '2', event: 'message', data: 'ü€😀\n' },
  ]);
  for (let size = 1; size < 12; size += 1) expect(parsed(text, size)).toEqual(whole);
});

describe('the rules for single lines', () => {
  it('one space behind the colon is not part of the value, a second one is', () => {
    expect(parsed('data:a\n\ndata: a\n\ndata:  a\n\n').map(({ data }) => data)).toEqual(['a', 'a', ' a']);
  });

  it('a line without a colon is a field without a value', () => {
    expect(parsed('data\n\n')).toEqual([{ id: '', event: 'message', data: '' }]);
  });

  it('comments, unknown fields and retry are passed over', () => {
    expect(parsed(': hello\nretry: 10\nother: x\ndata: a\n\n')).toEqual([{ id: '', event: 'message', data: 'a' }]);
  });

  it('an id that holds a NUL is passed over', () => {
    expect(parsed('id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n').map(({ id }) => id)).toEqual(['1', '1']);
  });

  it('an empty id takes the last one away', () => {
    expect(parsed('id: 1\ndata: a\n\nid\ndata: b\n\n').map(({ id }) => id)).toEqual(['1', '']);
  });
});

it('an id holds for the messages after it, an event name does not', () => {
  expect(parsed('id: 3\nevent: x\ndata: a\n\ndata: b\n\n')).toEqual([
    { id: '3', event: 'x', data: 'a' },
    { id: '3', event: 'message', data: 'b' },
  ]);
});

it('an event without data is none, but its id counts', () => {
  expect(parsed('event: x\nid: 9\n\ndata: a\n\n')).toEqual([{ id: '9', event: 'message', data: 'a' }]);
});

it('a message that the stream broke off is none', () => {
  expect(parsed('data: a\n\ndata: b\n')).toEqual([{ id: '', event: 'message', data: 'a' }]);
});

it('a byte order mark at the start is passed over, also when it is split', () => {
  expect(parsed('\ufeffdata: a\n\n')).toEqual([{ id: '', event: 'message', data: 'a' }]);
  expect(parsed('\ufeffdata: a\n\n', 1)).toEqual([{ id: '', event: 'message', data: 'a' }]);
});

it('an event that is longer than is taken is refused before it has ended', () => {
  const parser = new SseParser(100);
  expect(parser.push(encode(`data: ${'x'.repeat(90)}\n\n`))).toHaveLength(1);
  expect(parser.push(encode(`data: ${'x'.repeat(60)}\n`))).toEqual([]);
  expect(() => parser.push(encode(`data: ${'x'.repeat(60)}`))).toThrow(SseOverflow);
});

it('comments that keep a stream alive count towards no limit', () => {
  const parser = new SseParser(10);
  for (let count = 0; count < 100; count += 1) parser.push(encode(': alive\n'));
  expect(parser.push(encode('data: a\n\n'))).toEqual([{ id: '', event: 'message', data: 'a' }]);
});
