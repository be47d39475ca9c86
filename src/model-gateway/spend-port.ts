import { costOf, NO_USAGE } from './prices.ts';

/** Whose spend a run's calls count to. */
export interface Payer {
  tenant: string;
  /** Of records of before there were keys: `undefined`. */
  keyId: string | undefined;
}

export type Admission =
  | { kind: 'admitted' /** Books what the call has cost. Never throws. */; settle(costUsd: number): void }
  /** `spend`: a limit is reached. `spend_unknown`: whether it is could not be found out, so that no call is made. */
  | { kind: 'spend' | 'spend_unknown'; message: string };

/** What says before each call whether its payer may still spend. */
export interface SpendPort {
  /**
   * @param estimateUsd what the call is expected to cost, held back until it is settled
   * @param signal aborts when nobody waits for the call any more; the answer then does not matter
   */
  admit(payer: Payer, estimateUsd: number, signal: AbortSignal): Promise<Admission>;
}

/** Output that is held back for a call; most answers of Claude Code are far shorter, its `max_tokens` is 128,000. */
const EXPECTED_OUTPUT_TOKENS = 8_192;
const BYTES_PER_TOKEN = 4;

/**
 * US dollars that a call is expected to cost: all of its body as tokens written to the cache, and up to 8,192 tokens of
 * output. It is above what most calls cost, and no bound of it.
 */
export function estimateUsd(call: { model: string | null; maxTokens: number | null; bodyBytes: number }): number {
  return costOf(call.model ?? '', {
    ...NO_USAGE,
    cacheCreation5mTokens: Math.ceil(call.bodyBytes / BYTES_PER_TOKEN),
    outputTokens: Math.min(call.maxTokens ?? EXPECTED_OUTPUT_TOKENS, EXPECTED_OUTPUT_TOKENS),
  });
}
