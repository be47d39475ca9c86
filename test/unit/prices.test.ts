import { expect, test } from 'vitest';
import { PRICE_TABLE } from '../../src/model-gateway/price-table.ts';
import { costOf, NO_USAGE, pricesOf } from '../../src/model-gateway/prices.ts';

const million = { ...NO_USAGE, inputTokens: 1_000_000 };

test('every kind of token has its own price', () => {
  const cost = (usage: Partial<typeof NO_USAGE>) => costOf('claude-sonnet-4-5', { ...NO_USAGE, ...usage });
  expect(cost({ inputTokens: 1_000_000 })).toBeCloseTo(3, 10);
  expect(cost({ outputTokens: 1_000_000 })).toBeCloseTo(15, 10);
  expect(cost({ cacheReadTokens: 1_000_000 })).toBeCloseTo(0.3, 10);
  expect(cost({ cacheCreation5mTokens: 1_000_000 })).toBeCloseTo(3.75, 10);
  expect(cost({ cacheCreation1hTokens: 1_000_000 })).toBeCloseTo(6, 10);
  expect(cost({ webSearches: 3 })).toBeCloseTo(0.03, 10);
});

test.each(['claude-haiku-4-5-20251001', 'claude-haiku-4-5@20251001', 'Claude-Haiku-4-5', 'claude-haiku-4-5[1m]'])(
  '%s has the price of claude-haiku-4-5',
  (name) => {
    expect(pricesOf(name)).toEqual(PRICE_TABLE['claude-haiku-4-5']);
  },
);

test('the dated name of a first version finds it', () => {
  expect(pricesOf('claude-sonnet-4-20250514')).toEqual(PRICE_TABLE['claude-sonnet-4-0']);
});

test.each(['claude-next-9', '', 'constructor', '__proto__', 'claude-haiku-4-5-evil'])(
  'the unknown model "%s" costs at least as much as any known one',
  (name) => {
    const { prices } = pricesOf(name);
    for (const known of Object.values(PRICE_TABLE)) {
      for (const rate of [known.prices, known.fast ?? known.prices, known.longPrompt?.prices ?? known.prices]) {
        expect(prices.input).toBeGreaterThanOrEqual(rate.input);
        expect(prices.output).toBeGreaterThanOrEqual(rate.output);
        expect(prices.cacheRead).toBeGreaterThanOrEqual(rate.cacheRead);
        expect(prices.cacheWrite5m).toBeGreaterThanOrEqual(rate.cacheWrite5m);
        expect(prices.cacheWrite1h).toBeGreaterThanOrEqual(rate.cacheWrite1h);
      }
    }
  },
);

test('a long prompt changes the price of every token, counting what is read from and written to the cache', () => {
  const at = (usage: Partial<typeof NO_USAGE>) => costOf('claude-haiku-5-5', { ...NO_USAGE, ...usage });
  expect(at({ inputTokens: 100_000 })).toBeCloseTo(0.01, 10);
  expect(at({ inputTokens: 100_001 })).toBeCloseTo(0.0500005, 10);
  expect(at({ inputTokens: 40_000, cacheReadTokens: 60_001 })).toBeCloseTo(0.02 + 0.00300005, 10);
});

test('fast answers, and those made in the US alone, cost more', () => {
  expect(costOf('claude-opus-5-5', { ...million, speed: 'fast' })).toBeCloseTo(8, 10);
  expect(costOf('claude-opus-5-5', { ...million, inferenceGeo: 'us' })).toBeCloseTo(4.4, 10);
  expect(costOf('claude-sonnet-4-5', { ...million, speed: 'fast' })).toBeGreaterThan(3);
});
