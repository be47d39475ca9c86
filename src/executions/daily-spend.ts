import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Admission, Payer, SpendPort } from '../model-gateway/spend-port.ts';
import { ServiceError } from '../protocol/errors.ts';
import { newId } from '../protocol/ids.ts';
import type { SpendAnswer, SpendCounter } from '../storage/payer-storage.ts';
import type { Storage } from '../storage/storage.ts';

/** Longer than the upstream may be silent; a call that goes on longer is put right when it is settled. */
const HOLD_MS = 30 * 60_000;
/** How long a call waits for others to settle what they hold back, or for a store that is away. */
const WAIT_MS = 15_000;
const WAIT_STEP_MS = 250;
const SETTLE_RETRY_MS = 1_000;
const SETTLE_AT_CLOSE_MS = 2_000;
/** Costs that the store has not taken; beyond it the oldest are left at what was held back for them. */
const MAX_UNSETTLED = 10_000;

/** US dollars a payer may spend in a UTC day; `undefined` for any. */
export interface SpendLimits {
  tenantUsd: number | undefined;
  keyUsd: number | undefined;
}

export interface DailySpendOptions {
  storage: Pick<Storage, 'reserveSpend' | 'settleSpend'>;
  /** @throws ServiceError `storage_unavailable`, and then no call is made */
  limitsOf(payer: Payer): Promise<SpendLimits>;
  logger: Pick<Logger, 'warn'>;
  /** In ms; how long a call waits at most. */
  waitMs?: number;
}

/**
 * Limits what tenants and keys spend in a UTC day, on all nodes together. Before a call its estimated cost is held back,
 * behind it the real cost is booked. So many calls at once go over a limit by no more than each of them costs above its
 * estimate; a call that fits no more while others hold the rest waits for them, and is made alone where anything is left.
 * Without a limit nothing is counted and the store is not asked. Without a store no call is made.
 */
export class DailySpend implements SpendPort {
  readonly #options: DailySpendOptions;
  readonly #unsettled = new Map<string, number>();
  #settling: Promise<void> | undefined;
  readonly #closing = new AbortController();

  constructor(options: DailySpendOptions) {
    this.#options = options;
  }

  async admit(payer: Payer, estimateUsd: number, signal: AbortSignal): Promise<Admission> {
    const deadline = performance.now() + (this.#options.waitMs ?? WAIT_MS);
    const id = newId();
    for (;;) {
      const day = new Date().toISOString().slice(0, 10);
      const answer = await this.#ask({ id, payer, day, microUsd: toMicro(estimateUsd) });
      if (answer === 'no_limit') return { kind: 'admitted', settle: () => {} };
      if (answer === 'reserved_here') return { kind: 'admitted', settle: (costUsd) => this.#settle(id, costUsd) };
      const late = performance.now() > deadline || signal.aborted;
      if (late || !maySoonBeOther(answer)) return this.#refuse(id, answer, day);
      await delay(WAIT_STEP_MS, undefined, { signal }).catch(() => {});
    }
  }

  /** Stores what can be stored in 2 s; what is left counts as it was estimated. */
  async close(): Promise<void> {
    const late = setTimeout(() => this.#closing.abort(), SETTLE_AT_CLOSE_MS);
    await this.#settling;
    clearTimeout(late);
  }

  /** A store whose answer was lost may hold something back for the call all the same. */
  #refuse(id: string, answer: Refused, day: string): Admission {
    if (answer !== 'away') return refusal(answer, day);
    this.#settle(id, 0);
    return AWAY;
  }

  async #ask(call: { id: string; payer: Payer; day: string; microUsd: number }): Promise<Asked> {
    const { payer, ...reserved } = call;
    try {
      const counters = countersOf(payer, await this.#options.limitsOf(payer));
      if (counters.every(({ limitMicroUsd }) => limitMicroUsd === undefined)) return 'no_limit';
      return await this.#options.storage.reserveSpend({ ...reserved, counters, holdMs: HOLD_MS });
    } catch (error) {
      if (error instanceof ServiceError && error.code === 'storage_unavailable') return 'away';
      throw error;
    }
  }

  #settle(id: string, costUsd: number): void {
    this.#unsettled.set(id, toMicro(costUsd));
    const [oldest] = this.#unsettled.keys();
    if (this.#unsettled.size > MAX_UNSETTLED && oldest !== undefined) this.#unsettled.delete(oldest);
    this.#settling ??= this.#settleAll().finally(() => {
      this.#settling = undefined;
    });
  }

  async #settleAll(): Promise<void> {
    let told = false;
    while (this.#unsettled.size > 0) {
      for (const [id, microUsd] of this.#unsettled) {
        const error = await this.#options.storage.settleSpend(id, microUsd).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        if (error === undefined) this.#unsettled.delete(id);
        else {
          if (!told) this.#options.logger.warn({ err: error }, 'what calls have cost is not stored; it is tried again');
          told = true;
          break;
        }
      }
      if (this.#unsettled.size === 0) return;
      const { signal } = this.#closing;
      if (signal.aborted) return;
      if (told) await delay(SETTLE_RETRY_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  }
}

type Refused = Exclude<SpendAnswer, 'reserved_here'> | 'away';
type Asked = Refused | 'reserved_here' | 'no_limit';

function maySoonBeOther(answer: Refused): boolean {
  return answer === 'away' || answer.refusal === 'reserved';
}

const AWAY: Admission = {
  kind: 'spend_unknown',
  message:
    'What was spent today cannot be read, because the store does not answer, so that no call is made. Try again when the service is ready.',
};

function countersOf({ tenant, keyId }: Payer, { tenantUsd, keyUsd }: SpendLimits): SpendCounter[] {
  const ofTenant = { name: `tenant:${tenant}`, limitMicroUsd: limit(tenantUsd) };
  return keyId === undefined ? [ofTenant] : [ofTenant, { name: `key:${keyId}`, limitMicroUsd: limit(keyUsd) }];
}

/** Rounded in favour of the limit: costs up, limits down. */
function toMicro(usd: number): number {
  return Math.ceil(usd * 1e6 - 1e-6);
}

function limit(usd: number | undefined): number | undefined {
  return usd === undefined ? undefined : Math.floor(usd * 1e6 + 1e-6);
}

function refusal(
  { refusal: why, counter, spentMicroUsd }: Exclude<SpendAnswer, 'reserved_here'>,
  day: string,
): Admission {
  const whose = counter.startsWith('key:') ? 'this key' : 'this tenant';
  const resetAt = new Date(Date.parse(day) + 24 * 3600 * 1000).toISOString();
  const spent = `${(spentMicroUsd / 1e6).toFixed(4)} USD`;
  const state =
    why === 'full'
      ? `is reached: ${spent} were spent on ${day} (UTC)`
      : `has no room: beside ${spent} spent on ${day} (UTC), calls under way hold back the rest`;
  const message = `The limit of what ${whose} may spend in a day ${state}. It resets at ${resetAt}; the operator can raise it.`;
  return { kind: 'spend', message };
}
