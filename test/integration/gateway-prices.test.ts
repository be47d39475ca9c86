import { describe, expect, test } from 'vitest';
import { ALIASES, knownModels, measureCosts } from '../../scripts/measure-prices.ts';
import { PRICE_TABLE } from '../../src/model-gateway/price-table.ts';
import type { CallUsage } from '../../src/model-gateway/prices.ts';
import { costOf, NO_USAGE } from '../../src/model-gateway/prices.ts';
import { CLAUDE_BIN } from '../support/run-claude.ts';

const REPAIR = 'run `node scripts/measure-prices.ts` and commit the table';

const USAGES: CallUsage[] = [
  { ...NO_USAGE, inputTokens: 1234 },
  { ...NO_USAGE, inputTokens: 11, outputTokens: 567 },
  { ...NO_USAGE, cacheReadTokens: 30_001, cacheCreation5mTokens: 777, cacheCreation1hTokens: 333 },
  { ...NO_USAGE, inputTokens: 10, outputTokens: 10, webSearches: 2 },
  { ...NO_USAGE, inputTokens: 1000, outputTokens: 500, inferenceGeo: 'us' },
  { ...NO_USAGE, inputTokens: 60_000, cacheReadTokens: 40_001, outputTokens: 100 },
];

/** The scripted model's usage has no null. */
function scripted({ inferenceGeo, ...usage }: CallUsage): Parameters<typeof measureCosts>[1][number] {
  return inferenceGeo === null ? usage : { ...usage, inferenceGeo };
}

describe('the prices of the gateway are those of the pinned CLI', () => {
  test.each([...ALIASES, 'claude-sonnet-4-5', 'claude-opus-4-6', 'claude-haiku-4-5-20251001'])(
    'for %s',
    async (name) => {
      const measured = await measureCosts(name, USAGES.map(scripted));
      USAGES.forEach((usage, index) => {
        expect(costOf(measured.model, usage), REPAIR).toBeCloseTo(measured.costs[index] ?? Number.NaN, 9);
      });
    },
  );

  test('for fast answers', async () => {
    const usage: CallUsage = { ...NO_USAGE, inputTokens: 1000, outputTokens: 300, speed: 'fast' };
    for (const alias of ['opus', 'fable']) {
      const measured = await measureCosts(alias, [scripted(usage)]);
      expect(costOf(measured.model, usage), REPAIR).toBeCloseTo(measured.costs[0] ?? Number.NaN, 9);
    }
  });

  test('and every model of the CLI is in the table, but those it has replaced by newer ones', () => {
    const missing = knownModels(CLAUDE_BIN).filter((name) => !Object.hasOwn(PRICE_TABLE, name));
    expect(missing, REPAIR).toEqual(['claude-opus-4-0', 'claude-opus-4-1']);
  });
});
