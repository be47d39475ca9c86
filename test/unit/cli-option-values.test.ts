import { InvalidArgumentError } from 'commander';
import { expect, test } from 'vitest';
import { amount, durationMs, pair, rowLimit, rules } from '../../src/cli/option-values.ts';

test.each([
  ['90s', 90_000],
  ['5m', 300_000],
  ['1h30m', 5_400_000],
  ['500ms', 500],
  ['1.5s', 1500],
  ['2d', 172_800_000],
])('the duration %s is %d ms', (text, ms) => {
  expect(durationMs(text)).toBe(ms);
});

test.each(['', '90', '5 m', 's', '1x', '-5s', '5m!'])('%j is no duration', (text) => {
  expect(() => durationMs(text)).toThrow(InvalidArgumentError);
});

test.each([
  ['Read,Edit', ['Read', 'Edit']],
  ['Bash(git status, git log),Read', ['Bash(git status, git log)', 'Read']],
  ['Bash(echo (a,b)),Read', ['Bash(echo (a,b))', 'Read']],
  ['Bash(npm run x', ['Bash(npm run x']],
  [' Read , ,Edit', ['Read', 'Edit']],
  ['', []],
])('the rules %j are split at commas outside parentheses', (text, expected) => {
  expect(rules(text)).toEqual(expected);
});

test('a repeated option adds to what came before', () => {
  expect(rules('Edit', ['Read'])).toEqual(['Read', 'Edit']);
  expect(pair('B=2=3', { A: '1' })).toEqual({ A: '1', B: '2=3' });
});

test('a pair without a name is refused', () => {
  expect(() => pair('=x')).toThrow(InvalidArgumentError);
  expect(() => pair('x')).toThrow(InvalidArgumentError);
});

test.each(['0', '1001', '-1', 'all'])('%s rows are not printed', (text) => {
  expect(() => rowLimit(text)).toThrow(InvalidArgumentError);
});

test.each(['-1', '1e3', 'much'])('%s is no amount of money', (text) => {
  expect(() => amount(text)).toThrow(InvalidArgumentError);
});
