import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { splitLines } from '../../src/claude/lines.ts';

/** Cuts the bytes at the given places and pushes the pieces. */
function split(bytes: Buffer, cuts: number[], maxBytes?: number): { lines: string[]; lineTooLong: boolean } {
  const splitter = splitLines(maxBytes);
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  const lines: string[] = [];
  let start = 0;
  for (const place of places) {
    lines.push(...splitter.push(bytes.subarray(start, place)));
    start = place;
  }
  lines.push(...splitter.end());
  return { lines, lineTooLong: splitter.lineTooLong };
}

const cuts = fc.array(fc.nat(), { maxLength: 30 });
/** Text without line ends and not blank. */
const line = fc.string({ unit: 'binary' }).map((text) => `"${text.replace(/[\r\n]/g, ' ')}"`);

describe('splitLines', () => {
  test('gives back the lines of any text, however it is cut into chunks', () => {
    fc.assert(
      fc.property(fc.array(line), cuts, fc.constantFrom('\n', '\r\n'), (lines, places, end) => {
        const bytes = Buffer.from(lines.map((text) => text + end).join(''));
        expect(split(bytes, places)).toEqual({ lines, lineTooLong: false });
      }),
    );
  });

  test('gives the same lines for any bytes whatever the chunks are', () => {
    const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(10, 13, 32, 0xc3, 0xe2));
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 200 }), cuts, (values, places) => {
        const bytes = Buffer.from(values);
        expect(split(bytes, places)).toEqual(split(bytes, []));
      }),
    );
  });

  test('stops at the first line over the cap and keeps all lines before it, whatever the chunks are', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 20 }), cuts, fc.integer({ min: 2, max: 20 }), (lines, places, cap) => {
        const bytes = Buffer.from(lines.join('\n'));
        const firstLong = lines.findIndex((text) => Buffer.byteLength(text) > cap);
        const kept = firstLong === -1 ? lines : lines.slice(0, firstLong);
        expect(split(bytes, places, cap)).toEqual({ lines: kept, lineTooLong: firstLong !== -1 });
      }),
    );
  });

  test('takes a line of exactly the cap and refuses one byte more', () => {
    expect(split(Buffer.from('12345\n'), [], 5)).toEqual({ lines: ['12345'], lineTooLong: false });
    expect(split(Buffer.from('123456\n'), [], 5)).toEqual({ lines: [], lineTooLong: true });
    expect(split(Buffer.from('123456'), [3], 5)).toEqual({ lines: [], lineTooLong: true });
  });

  test('delivers nothing after a line that was too long', () => {
    const splitter = splitLines(3);
    expect(splitter.push(Buffer.from('ab\nabcd\nef\n'))).toEqual(['ab']);
    expect(splitter.push(Buffer.from('gh\n'))).toEqual([]);
    expect(splitter.end()).toEqual([]);
  });

  test('skips blank lines and keeps the blanks around text', () => {
    expect(split(Buffer.from('\n\r\n  \n\t\r\n a \nb\n\n'), []).lines).toEqual([' a ', 'b']);
  });

  test('delivers the last line when it has no line end', () => {
    expect(split(Buffer.from('a\nb'), [1, 2]).lines).toEqual(['a', 'b']);
    expect(split(Buffer.from('a\n'), []).lines).toEqual(['a']);
  });

  test('turns bytes that are not UTF-8 into U+FFFD and goes on', () => {
    expect(split(Buffer.from([0xff, 0x41, 0xc3, 0x0a, 0x42, 0x0a]), []).lines).toEqual(['\ufffdA\ufffd', 'B']);
  });

  test('passes a 20 MiB line that comes in 64 KiB chunks', () => {
    const splitter = splitLines();
    const chunk = Buffer.alloc(65_536, 'x');
    for (let count = 0; count < 320; count += 1) {
      expect(splitter.push(chunk)).toEqual([]);
    }
    const [text, next] = splitter.push(Buffer.from('\nnext\n'));
    expect([text?.length, next]).toEqual([20 * 1024 * 1024, 'next']);
  });
});
