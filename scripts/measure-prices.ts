/**
 * Measures what the pinned CLI charges per model, and writes src/model-gateway/price-table.ts:
 * `node scripts/measure-prices.ts`. The CLI talks to the scripted model, whose answers name known token numbers; the
 * prices follow from `modelUsage[*].costUSD`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startScriptedModel } from '../src/scripted-model/scripted-model.ts';
import type { StepUsage } from '../src/scripted-model/steps.ts';
import { CLAUDE_BIN, runClaude } from '../test/support/run-claude.ts';

export const ALIASES = ['haiku', 'sonnet', 'opus', 'fable'] as const;

type Usage = Partial<StepUsage>;
/** Token numbers small enough for every model's base price. */
const TOKENS = 1000;
/** Longer than any threshold of long-prompt prices. */
const LONG = 4_000_000;
const NOTHING: Usage = { inputTokens: 0, outputTokens: 0 };
const KINDS = {
  input: { ...NOTHING, inputTokens: TOKENS },
  output: { ...NOTHING, outputTokens: TOKENS },
  cacheRead: { ...NOTHING, cacheReadTokens: TOKENS },
  cacheWrite5m: { ...NOTHING, cacheCreation5mTokens: TOKENS },
  cacheWrite1h: { ...NOTHING, cacheCreation1hTokens: TOKENS },
} as const satisfies Record<string, Usage>;
type Kind = keyof typeof KINDS;

/** US dollars per million tokens. */
export type MeasuredPrices = Record<Kind, number>;
export interface MeasuredModel {
  /** The full name the CLI asks the API for. */
  model: string;
  prices: MeasuredPrices;
  fast?: MeasuredPrices;
  longPrompt?: { aboveTokens: number; prices: MeasuredPrices };
}

/** US dollars of each usage in turn, as the CLI counts them for `model` in one process. */
export async function measureCosts(
  model: string,
  usages: readonly Usage[],
): Promise<{ model: string; costs: number[] }> {
  const scripted = await startScriptedModel({ script: usages.map((usage) => ({ kind: 'text', text: 'ok', usage })) });
  try {
    const run = await runClaude({
      prompts: usages.map((_, index) => `Say ok, ${index}.`),
      model,
      env: { ANTHROPIC_BASE_URL: scripted.url, ANTHROPIC_API_KEY: 'measure', DISABLE_AUTO_COMPACT: '1' },
    });
    if (run.results.length !== usages.length || run.results.some((result) => result.is_error)) {
      throw new Error(`${model}: ${JSON.stringify(run.results.find((result) => result.is_error) ?? run.stderr)}`);
    }
    const totals = run.results.map((result) =>
      Object.values(result.modelUsage).reduce((sum, entry) => sum + entry.costUSD, 0),
    );
    const name = Object.keys(run.results[0]?.modelUsage ?? {})[0] ?? model;
    return { model: name, costs: totals.map((total, index) => total - (totals[index - 1] ?? 0)) };
  } finally {
    await scripted.close();
  }
}

/** The base prices of a model and, where it has any, those of its long prompts and of fast answers. */
export async function measureModel(model: string): Promise<MeasuredModel> {
  const base = await measureCosts(model, Object.values(KINDS));
  const measured: MeasuredModel = { model: base.model, prices: toPrices(base.costs) };
  const fast = toPrices((await measureCosts(model, Object.values(KINDS).map(faster))).costs);
  if (fast.input !== measured.prices.input) {
    measured.fast = fast;
  }
  const longInput = await costOf(model, { ...NOTHING, inputTokens: LONG });
  if (round((longInput / LONG) * 1e6) !== measured.prices.input) {
    const aboveTokens = await findThreshold(model, measured.prices.input);
    measured.longPrompt = { aboveTokens, prices: await longPrices(model, longInput) };
  }
  return measured;
}

/** Behind a huge prompt the CLI refuses another turn, so that each kind has a process of its own. */
async function longPrices(model: string, longInput: number): Promise<MeasuredPrices> {
  const costs: number[] = [];
  for (const usage of Object.values(KINDS)) {
    const inputTokens = LONG + (usage.inputTokens ?? 0);
    costs.push((await costOf(model, { ...usage, inputTokens })) - longInput);
  }
  return toPrices(costs);
}

function faster(usage: Usage): Usage {
  return { ...usage, speed: 'fast' };
}

async function costOf(model: string, usage: Usage): Promise<number> {
  const [cost] = (await measureCosts(model, [usage])).costs;
  return cost ?? Number.NaN;
}

/** The largest prompt, in tokens, that still has the base price. */
async function findThreshold(model: string, basePrice: number): Promise<number> {
  let low = 1000;
  let high = LONG;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    const cost = await costOf(model, { ...NOTHING, inputTokens: middle });
    if (round((cost / middle) * 1e6) === basePrice) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

/** The names of every first-party model in the catalogue that the CLI carries in its binary. */
export function knownModels(binary: string): string[] {
  const text = readFileSync(binary).toString('latin1');
  const entries = text.matchAll(/\{id:"(claude-[a-z0-9-]+)",family:"[a-z]+",display_name:/g);
  return [...new Set([...entries].map((entry) => String(entry[1])))].sort();
}

function toPrices(costs: readonly number[]): MeasuredPrices {
  const price = (index: number): number => round(((costs[index] ?? 0) / TOKENS) * 1e6);
  return { input: price(0), output: price(1), cacheRead: price(2), cacheWrite5m: price(3), cacheWrite1h: price(4) };
}

function round(price: number): number {
  return Math.round(price * 1e5) / 1e5;
}

async function main(): Promise<void> {
  const table: MeasuredModel[] = [];
  for (const name of knownModels(CLAUDE_BIN)) {
    const measured = await measureModel(name);
    console.log(name, JSON.stringify(measured));
    // The CLI asks for a newer model in place of some retired ones; those have no price of their own.
    if (measured.model === name) {
      table.push(measured);
    }
  }
  const search = await costOf('sonnet', { ...NOTHING, webSearches: 1 });
  const us = await costOf('sonnet', { ...KINDS.input, inferenceGeo: 'us' });
  const anywhere = await costOf('sonnet', KINDS.input);
  const rows = table.map(({ model, ...rest }) => `  '${model}': ${JSON.stringify(rest)},`);
  const lines = [
    '// Written by scripts/measure-prices.ts from the pinned CLI; do not edit.',
    "import type { ModelPrices } from './prices.ts';",
    '',
    '/** US dollars of one web search by the API. */',
    `export const WEB_SEARCH_USD = ${round(search)};`,
    '/** What an answer made in the US alone costs, relative to the list. */',
    `export const US_INFERENCE_FACTOR = ${round(us / anywhere)};`,
    '',
    'export const PRICE_TABLE: Readonly<Record<string, ModelPrices>> = {',
    ...rows,
    '};',
    '',
  ];
  writeFileSync(join(import.meta.dirname, '../src/model-gateway/price-table.ts'), lines.join('\n'));
}

if (import.meta.main) {
  await main();
}
