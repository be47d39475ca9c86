import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bytes, dollars, duration, firstLine, printable } from '../../src/cli/terminal.ts';

test('text of a model cannot steer the terminal', () => {
  expect(printable('a\u001b]0;title\u0007b\rc\u009b2Jd')).toBe('a\ufffd]0;title\ufffdb\ufffdc\ufffd2Jd');
  expect(printable('line\n\tindented é 漢 🙂')).toBe('line\n\tindented é 漢 🙂');
});

test('a line is cut to its columns, of which wide characters take two', () => {
  expect(firstLine('abcdef', 6)).toBe('abcdef');
  expect(firstLine('abcdefg', 6)).toBe('abcde…');
  expect(firstLine('漢字漢字', 6)).toBe('漢字…');
  expect(firstLine('漢字漢', 6)).toBe('漢字漢');
  expect(firstLine('e\u0301e\u0301e\u0301', 3)).toBe('e\u0301e\u0301e\u0301');
  expect(firstLine('\n  one\ntwo', 20)).toBe('one');
});

test('whatever the text, a cut line is one line of whole characters', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, width) => {
      const line = firstLine(text, width);
      expect(line).not.toMatch(/\n/);
      expect(line.isWellFormed()).toBe(true);
      expect(text === '' || [...line].length <= [...text].length).toBe(true);
    }),
  );
});

test.each([
  [12_340, '12.3s'],
  [187_000, '3m 07s'],
  [3_720_000, '1h 02m'],
])('%d ms are shown as %s', (ms, expected) => {
  expect(duration(ms)).toBe(expected);
});

test('sizes and money are short', () => {
  expect([bytes(999), bytes(1234), bytes(2_500_000)]).toEqual(['999 B', '1.2 kB', '2.5 MB']);
  expect([dollars(0.00034), dollars(12.345)]).toEqual(['$0.0003', '$12.35']);
});
