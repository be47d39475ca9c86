import type { GatewayCredential } from './gateway-headers.ts';
import type { ModelCall } from './model-call.ts';
import { costOf } from './prices.ts';
import type { Payer } from './spend-port.ts';
import type { Reading } from './usage-reading.ts';

/** Calls of one run at the same time; the CLI makes a few, a loop in its shell could make any number. */
const MAX_OPEN_CALLS = 64;

/** The run a token stands for. */
export interface GatewayRun {
  executionId: string;
  /** Pays for every call of the run. */
  credential: GatewayCredential;
  payer: Payer;
  /** US dollars; no further call is made once they are spent. */
  maxBudgetUsd?: number;
  /** US dollars spent before, by an earlier attempt. */
  spentUsd?: number;
  /** Told of every call when it has ended, refused ones too. Must not throw. */
  onCall(call: ModelCall): void;
}

/** A call under way: what it has cost so far, and how to end it. */
export interface OpenCall {
  reading(): Reading;
  abort(): void;
}

/** What a run has spent, and its calls under way. */
export class RunAccount {
  readonly run: GatewayRun;
  readonly #open = new Set<OpenCall>();
  #settledUsd: number;

  constructor(run: GatewayRun) {
    this.run = run;
    this.#settledUsd = run.spentUsd ?? 0;
  }

  /** US dollars, with what is known of the calls under way. */
  get spentUsd(): number {
    return [...this.#open].reduce((sum, call) => sum + readingCost(call.reading()), this.#settledUsd);
  }

  get budgetSpent(): boolean {
    return this.run.maxBudgetUsd !== undefined && this.spentUsd >= this.run.maxBudgetUsd;
  }

  get full(): boolean {
    return this.#open.size >= MAX_OPEN_CALLS;
  }

  open(call: OpenCall): void {
    this.#open.add(call);
  }

  settle(open: OpenCall, call: ModelCall): void {
    this.#open.delete(open);
    this.#settledUsd += call.costUsd;
    this.run.onCall(call);
  }

  /** Ends every call under way; their clients see a broken connection. */
  abort(): void {
    for (const call of this.#open) {
      call.abort();
    }
  }
}

/** US dollars of an answer; an unknown model counts as the dearest. */
export function readingCost(reading: Reading): number {
  return costOf(reading.model ?? '', reading.usage);
}
