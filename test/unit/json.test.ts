import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ServiceError } from '../../src/protocol/errors.ts';
import { parseJson } from '../../src/protocol/json.ts';
import { JSON_CORPUS, shown, type Verdict } from '../support/json-corpus.ts';

function verdictOn(text: string): Verdict {
  try {
    parseJson(text);
    return 'json';
  } catch (error) {
    if (error instanceof SyntaxError) return 'broken';
    if (error instanceof ServiceError && error.code === 'invalid_request') return 'ambiguous';
    throw error;
  }
}

/** One of the ways to write a string in JSON: each character as it is, or by its number. */
const spelling = (key: string): fc.Arbitrary<string> =>
  fc
    .array(fc.boolean(), { minLength: key.length, maxLength: key.length })
    .map((numbers) =>
      key.split('').map((unit, at) => (numbers[at] ? numbered(unit) : JSON.stringify(unit).slice(1, -1))),
    )
    .map((units) => `"${units.join('')}"`);

function numbered(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

describe('the corpus', () => {
  test.each(['json', 'broken', 'ambiguous'] as const)('what is %s is taken for nothing else', (verdict) => {
    const cases = JSON_CORPUS.filter((one) => one.verdict === verdict);
    const wrong = cases.map(({ text }) => [shown(text), verdictOn(text)]).filter(([, found]) => found !== verdict);
    expect(wrong).toEqual([]);
    expect(cases.length).toBeGreaterThan(20);
  });

  test('what is JSON has the value that JSON gives it', () => {
    for (const { text } of JSON_CORPUS.filter(({ verdict }) => verdict === 'json')) {
      expect(parseJson(text)).toEqual(JSON.parse(text));
    }
  });
});

test('every value without a special key comes back as it was written', () => {
  const value = fc.jsonValue({ maxDepth: 8 }).filter((one) => !JSON.stringify(one).includes('"__proto__":'));
  fc.assert(
    fc.property(value, fc.constantFrom(undefined, 2, '\t'), (one, space) => {
      expect(parseJson(JSON.stringify(one, null, space))).toEqual(JSON.parse(JSON.stringify(one)));
    }),
    { seed: 1 },
  );
});

test('a key that is given twice is refused however it is spelt, and two that differ are not', () => {
  const unit = fc.constantFrom('a', '"', '\\', '/', '\n', 'é', '\ud83d', '\ude00', 'u0061');
  const key = fc.array(unit, { maxLength: 5 }).map((units) => units.join(''));
  fc.assert(
    fc.property(
      fc.tuple(key, key).chain(([one, other]) => fc.tuple(fc.constant(one === other), spelling(one), spelling(other))),
      ([same, one, other]) => {
        expect(verdictOn(`[{"x":{${one}:1, "z":"${'\\\\'}",${other} :2}}]`)).toBe(same ? 'ambiguous' : 'json');
      },
    ),
    { seed: 2, numRuns: 500 },
  );
});

test('a text that is cut off anywhere is broken', () => {
  const text = '{"prompt":"say \\"hé\\u00e9\\"","tools":["Read", {"a":[-1.5e+3,true,null]}]}';
  expect(verdictOn(text)).toBe('json');
  for (let end = 0; end < text.length; end += 1) expect([end, verdictOn(text.slice(0, end))]).toEqual([end, 'broken']);
});

test('a refusal quotes a part of a long key only', () => {
  const key = 'k'.repeat(1_000_000);
  const refusal = expect.objectContaining({ message: expect.stringMatching(/^.{0,300}$/) });
  expect(() => parseJson(`{"${key}":1,"${key}":2}`)).toThrow(refusal);
});
