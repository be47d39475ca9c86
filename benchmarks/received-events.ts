import { z } from 'zod';

const Received = z.object({
  method: z.string(),
  params: z.looseObject({
    executionId: z.string(),
    seq: z.int().optional(),
    type: z.string().optional(),
    data: z.looseObject({ text: z.string().optional() }).optional(),
    reason: z.string().optional(),
  }),
});

/** What one client received of executions of `streaming-claude.pl`, checked as it comes. */
export class ReceivedEvents {
  /** Of each delta its number in its run, and the milliseconds from its printing to its receipt. */
  readonly deltas: { number: number; ms: number }[] = [];
  /** By execution. */
  readonly lastSeq = new Map<string, number>();
  readonly running = new Set<string>();
  readonly finished = new Set<string>();
  lost = 0;
  doubled = 0;

  add(text: string): void {
    const now = process.hrtime.bigint();
    const { method, params } = Received.parse(JSON.parse(text));
    const { executionId, seq, type, data, reason } = params;
    if (method === 'subscription.closed') {
      if (reason !== 'finished') throw new Error(`${executionId} was closed: ${reason}`);
      this.finished.add(executionId);
    }
    if (method !== 'event' || seq === undefined) return;
    this.#count(executionId, seq);
    if (type === 'claude.message') this.running.add(executionId);
    const [number, printed] = (type === 'claude.delta' ? data?.text : undefined)?.split(' ') ?? [];
    if (printed !== undefined) this.deltas.push({ number: Number(number), ms: Number(now - BigInt(printed)) / 1e6 });
  }

  #count(executionId: string, seq: number): void {
    const last = this.lastSeq.get(executionId) ?? 0;
    if (seq <= last) this.doubled += 1;
    else this.lost += seq - last - 1;
    this.lastSeq.set(executionId, Math.max(last, seq));
  }
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
