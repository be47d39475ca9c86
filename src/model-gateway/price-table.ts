// Written by scripts/measure-prices.ts from the pinned CLI; do not edit.
import type { ModelPrices } from './prices.ts';

/** US dollars of one web search by the API. */
export const WEB_SEARCH_USD = 0.01;
/** What an answer made in the US alone costs, relative to the list. */
export const US_INFERENCE_FACTOR = 1.1;

export const PRICE_TABLE: Readonly<Record<string, ModelPrices>> = {
  'claude-3-5-haiku': { prices: { input: 0.8, output: 4, cacheRead: 0.08, cacheWrite5m: 1, cacheWrite1h: 1.6 } },
  'claude-3-5-sonnet': { prices: { input: 3, output: 15, cacheRead: 0.3, cacheWrite5m: 3.75, cacheWrite1h: 6 } },
  'claude-3-7-sonnet': { prices: { input: 3, output: 15, cacheRead: 0.3, cacheWrite5m: 3.75, cacheWrite1h: 6 } },
  'claude-fable-5': { prices: { input: 10, output: 50, cacheRead: 1, cacheWrite5m: 12.5, cacheWrite1h: 20 } },
  'claude-fable-5-1': { prices: { input: 10, output: 50, cacheRead: 0.25, cacheWrite5m: 12.5, cacheWrite1h: 20 } },
  'claude-fable-5-2': {
    prices: { input: 8, output: 40, cacheRead: 0.2, cacheWrite5m: 10, cacheWrite1h: 16 },
    fast: { input: 16, output: 80, cacheRead: 0.4, cacheWrite5m: 20, cacheWrite1h: 32 },
  },
  'claude-haiku-4-5': { prices: { input: 1, output: 5, cacheRead: 0.1, cacheWrite5m: 1.25, cacheWrite1h: 2 } },
  'claude-haiku-5-5': {
    prices: { input: 0.1, output: 0.5, cacheRead: 0.01, cacheWrite5m: 0.125, cacheWrite1h: 0.2 },
    longPrompt: {
      aboveTokens: 100000,
      prices: { input: 0.5, output: 2.5, cacheRead: 0.05, cacheWrite5m: 0.625, cacheWrite1h: 1 },
    },
  },
  'claude-mythos-5': { prices: { input: 10, output: 50, cacheRead: 1, cacheWrite5m: 12.5, cacheWrite1h: 20 } },
  'claude-mythos-5-1': { prices: { input: 10, output: 50, cacheRead: 0.25, cacheWrite5m: 12.5, cacheWrite1h: 20 } },
  'claude-mythos-5-2': {
    prices: { input: 8, output: 40, cacheRead: 0.2, cacheWrite5m: 10, cacheWrite1h: 16 },
    fast: { input: 16, output: 80, cacheRead: 0.4, cacheWrite5m: 20, cacheWrite1h: 32 },
  },
  'claude-opus-4-5': { prices: { input: 5, output: 25, cacheRead: 0.5, cacheWrite5m: 6.25, cacheWrite1h: 10 } },
  'claude-opus-4-6': {
    prices: { input: 5, output: 25, cacheRead: 0.5, cacheWrite5m: 6.25, cacheWrite1h: 10 },
    fast: { input: 30, output: 150, cacheRead: 3, cacheWrite5m: 37.5, cacheWrite1h: 60 },
  },
  'claude-opus-4-7': {
    prices: { input: 5, output: 25, cacheRead: 0.5, cacheWrite5m: 6.25, cacheWrite1h: 10 },
    fast: { input: 30, output: 150, cacheRead: 3, cacheWrite5m: 37.5, cacheWrite1h: 60 },
  },
  'claude-opus-4-8': {
    prices: { input: 5, output: 25, cacheRead: 0.5, cacheWrite5m: 6.25, cacheWrite1h: 10 },
    fast: { input: 10, output: 50, cacheRead: 1, cacheWrite5m: 12.5, cacheWrite1h: 20 },
  },
  'claude-opus-5': {
    prices: { input: 5, output: 25, cacheRead: 0.5, cacheWrite5m: 6.25, cacheWrite1h: 10 },
    fast: { input: 10, output: 50, cacheRead: 1, cacheWrite5m: 12.5, cacheWrite1h: 20 },
  },
  'claude-opus-5-5': {
    prices: { input: 4, output: 20, cacheRead: 0.2, cacheWrite5m: 5, cacheWrite1h: 8 },
    fast: { input: 8, output: 40, cacheRead: 0.4, cacheWrite5m: 10, cacheWrite1h: 16 },
  },
  'claude-sonnet-4-0': { prices: { input: 3, output: 15, cacheRead: 0.3, cacheWrite5m: 3.75, cacheWrite1h: 6 } },
  'claude-sonnet-4-5': { prices: { input: 3, output: 15, cacheRead: 0.3, cacheWrite5m: 3.75, cacheWrite1h: 6 } },
  'claude-sonnet-4-6': { prices: { input: 3, output: 15, cacheRead: 0.3, cacheWrite5m: 3.75, cacheWrite1h: 6 } },
  'claude-sonnet-5': { prices: { input: 2, output: 10, cacheRead: 0.2, cacheWrite5m: 2.5, cacheWrite1h: 4 } },
  'claude-sonnet-5-5': { prices: { input: 2, output: 10, cacheRead: 0.1, cacheWrite5m: 2.5, cacheWrite1h: 4 } },
};
