import { PRICE_TABLE, US_INFERENCE_FACTOR, WEB_SEARCH_USD } from './price-table.ts';

/** US dollars per million tokens. */
export interface TokenPrices {
  input: number;
  output: number;
  cacheRead: number;
  cacheWrite5m: number;
  cacheWrite1h: number;
}

export interface ModelPrices {
  prices: TokenPrices;
  /** What answers of `speed: fast` cost. */
  fast?: TokenPrices;
  /** What every token costs when the prompt (fresh, read and written tokens together) is longer than `aboveTokens`. */
  longPrompt?: { aboveTokens: number; prices: TokenPrices };
}

/** Token numbers of one call, and what else its price hangs on. */
export interface CallUsage {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheCreation5mTokens: number;
  cacheCreation1hTokens: number;
  webSearches: number;
  speed: 'standard' | 'fast';
  inferenceGeo: string | null;
}

export const NO_USAGE: CallUsage = Object.freeze({
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheCreation5mTokens: 0,
  cacheCreation1hTokens: 0,
  webSearches: 0,
  speed: 'standard',
  inferenceGeo: null,
});

/** The highest price of each kind in the table: what an unknown model counts as, so that a budget fails closed. */
const DEAREST: ModelPrices = { prices: dearest() };

/**
 * The prices of a model by its full name. A date at its end (`-20251001`) and a context suffix (`[1m]`) do not matter;
 * an unknown model counts as the dearest one.
 */
export function pricesOf(model: string): ModelPrices {
  const name = model.toLowerCase().replace(/\[\w+\]$/, '');
  const undated = name.replace(/[-@]\d{8}$/, '');
  return [name, undated, `${undated}-0`].map(ownPrices).find((prices) => prices !== undefined) ?? DEAREST;
}

/** US dollars of one call. The rules are those of CLI 2.1.330, checked against it by a test. */
export function costOf(model: string, usage: CallUsage): number {
  const rate = rateFor(pricesOf(model), usage);
  const tokens =
    usage.inputTokens * rate.input +
    usage.outputTokens * rate.output +
    usage.cacheReadTokens * rate.cacheRead +
    usage.cacheCreation5mTokens * rate.cacheWrite5m +
    usage.cacheCreation1hTokens * rate.cacheWrite1h;
  const factor = usage.inferenceGeo === 'us' ? US_INFERENCE_FACTOR : 1;
  return (tokens / 1e6) * factor + usage.webSearches * WEB_SEARCH_USD;
}

function rateFor(model: ModelPrices, usage: CallUsage): TokenPrices {
  if (usage.speed === 'fast') {
    return model.fast ?? DEAREST.prices;
  }
  const prompt = usage.inputTokens + usage.cacheReadTokens + usage.cacheCreation5mTokens + usage.cacheCreation1hTokens;
  const { longPrompt } = model;
  return longPrompt !== undefined && prompt > longPrompt.aboveTokens ? longPrompt.prices : model.prices;
}

function ownPrices(name: string): ModelPrices | undefined {
  return Object.hasOwn(PRICE_TABLE, name) ? PRICE_TABLE[name] : undefined;
}

function dearest(): TokenPrices {
  const all = Object.values(PRICE_TABLE).flatMap(({ prices, fast, longPrompt }) => [prices, fast, longPrompt?.prices]);
  const highest = (kind: keyof TokenPrices): number => Math.max(...all.map((prices) => prices?.[kind] ?? 0));
  return {
    input: highest('input'),
    output: highest('output'),
    cacheRead: highest('cacheRead'),
    cacheWrite5m: highest('cacheWrite5m'),
    cacheWrite1h: highest('cacheWrite1h'),
  };
}
