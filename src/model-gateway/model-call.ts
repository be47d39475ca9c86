import type { CallUsage } from './prices.ts';

/** Paths that a run may reach; everything else is 404. */
export const MODEL_PATHS = ['/v1/messages', '/v1/messages/count_tokens'] as const;
export type ModelPath = (typeof MODEL_PATHS)[number];

/** One call of a run, as the gateway witnessed it. Durations count from the request's headers. */
export interface ModelCall {
  executionId: string;
  path: ModelPath;
  /** The upstream's `request-id`; null when it gave none. */
  requestId: string | null;
  /** The status the run was given; null when its client left before there was one. */
  status: number | null;
  model: string | null;
  usage: CallUsage;
  /** US dollars, by the price table. */
  costUsd: number;
  /** The output tokens are an estimate (a quarter of the streamed text's bytes), because the answer was cut off. */
  estimated: boolean;
  stopReason: string | null;
  /**
   * `budget`: that of the execution is spent. `spend`, `spend_unknown`: as in `Admission`. These three come before the call.
   * `credential`: it could not be had, or the upstream refused it (401, 403).
   */
  refusal: null | 'budget' | 'spend' | 'spend_unknown' | 'credential';
  /** What the gateway itself told the run, where it refused the call; null otherwise. */
  detail: string | null;
  end: 'complete' | 'client_closed' | 'upstream_failed';
  /** RFC 3339 UTC with milliseconds. */
  startedAt: string;
  firstByteMs: number | null;
  durationMs: number;
}
