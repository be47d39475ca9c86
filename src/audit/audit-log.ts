import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AuditDraft } from '../protocol/audit.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { Storage } from '../storage/storage.ts';
import { type AuditActor, type AuditFacts, auditDraft } from './audit-draft.ts';

const MAX_BATCH = 256;
/** Entries that wait for a store that is away; more are counted, and the gap is written down when it is back. */
const MAX_WAITING = 10_000;
const RETRY_MS = 1_000;
const LAST_TRIES_MS = 2_000;
/** Refusals that are written down in a minute; more are counted, so that nobody fills a disk with them. */
const MAX_REFUSALS = 100;
/** Said by everyone all the time, or not to be written anyway. */
const UNRECORDED: readonly string[] = ['invalid_request', 'storage_unavailable', 'internal'];

interface Waiting {
  draft: AuditDraft;
  /** The entry is stored, or the store is away and it is kept for later. */
  settled(): void;
}

/**
 * Writes down who did what. An entry is stored before the change it tells of is answered; while the store is away, a
 * stop must not fail for want of a log, so entries wait in memory and are stored, with the time they are of, when it is
 * back.
 */
export class AuditLog {
  readonly #storage: Pick<Storage, 'appendAudit'>;
  readonly #logger: Pick<Logger, 'error' | 'warn'>;
  #waiting: Waiting[] = [];
  #dropped = 0;
  #writing: Promise<void> | undefined;
  #state: 'open' | 'away' | 'closed' = 'open';
  readonly #closing = new AbortController();
  #refusals = { since: 0, count: 0, unrecorded: 0 };

  constructor(storage: Pick<Storage, 'appendAudit'>, logger: Pick<Logger, 'error' | 'warn'>) {
    this.#storage = storage;
    this.#logger = logger;
  }

  /** Resolves when the entry is stored, or kept for a store that is away. */
  record(actor: AuditActor, facts: AuditFacts): Promise<void> {
    return this.add(auditDraft(actor, facts));
  }

  add(draft: AuditDraft): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING || this.#state === 'closed') {
      this.#dropped += 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#waiting.push({ draft, settled: resolve });
      if (this.#state === 'away') resolve();
      this.#writing ??= this.#write();
    });
  }

  /**
   * Writes down how something ended that a caller asked for: `ok`, or the code of its refusal. `madeOf` names what was
   * made, which has no name before.
   */
  async during<T>(
    actor: AuditActor,
    facts: Omit<AuditFacts, 'outcome'> & { madeOf?: (done: T) => string },
    act: () => Promise<T>,
  ): Promise<T> {
    const { madeOf, ...known } = facts;
    let done: T;
    try {
      done = await act();
    } catch (error) {
      if (error instanceof ServiceError) await this.refused(actor, known, error);
      throw error;
    }
    await this.record(actor, madeOf === undefined ? known : { ...known, subject: madeOf(done) });
    return done;
  }

  /** Writes down that something was refused; of a flood of refusals, some, and how many there were beside. */
  async refused(actor: AuditActor, facts: Omit<AuditFacts, 'outcome'>, { code }: ServiceError): Promise<void> {
    if (UNRECORDED.includes(code)) return;
    const now = performance.now();
    if (now - this.#refusals.since > 60_000) this.#refusals = { ...this.#refusals, since: now, count: 0 };
    if (this.#refusals.count >= MAX_REFUSALS) {
      this.#refusals.unrecorded += 1;
      return;
    }
    const { unrecorded } = this.#refusals;
    this.#refusals = { ...this.#refusals, count: this.#refusals.count + 1, unrecorded: 0 };
    const detail = unrecorded === 0 ? facts.detail : { ...facts.detail, unrecordedBefore: String(unrecorded) };
    await this.record(actor, { ...facts, outcome: code, ...(detail === undefined ? {} : { detail }) });
  }

  /** Stores what waits, if the store takes it, and takes no more. */
  async close(): Promise<void> {
    const late = setTimeout(() => this.#closing.abort(), LAST_TRIES_MS);
    await this.#writing;
    clearTimeout(late);
    this.#state = 'closed';
    if (this.#waiting.length > 0) {
      this.#logger.error({ entries: this.#waiting.length }, 'entries of the audit log could not be stored');
    }
  }

  /** Never rejects. A batch is offered again as it was, so that a store can tell that it has it already. */
  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, MAX_BATCH);
      while (!(await this.#store(batch.map(({ draft }) => draft)))) {
        for (const { settled } of this.#waiting) settled();
        if (this.#closing.signal.aborted) return this.#stopWriting();
        await delay(RETRY_MS, undefined, { signal: this.#closing.signal }).catch(() => {});
      }
      this.#state = 'open';
      this.#waiting.splice(0, batch.length);
      for (const { settled } of batch) settled();
      this.#tellGap();
    }
    this.#stopWriting();
  }

  /** In the same turn in which nothing waits any more: who is told of the last entry may bring another. */
  #stopWriting(): void {
    this.#writing = undefined;
  }

  #tellGap(): void {
    const entries = this.#dropped;
    if (entries === 0) return;
    this.#dropped = 0;
    this.#logger.error({ entries }, 'entries of the audit log were lost while the store was away');
    void this.record({}, { action: 'audit.gap', detail: { entries: String(entries) } });
  }

  async #store(drafts: readonly AuditDraft[]): Promise<boolean> {
    try {
      await this.#storage.appendAudit(drafts);
      return true;
    } catch (error) {
      if (this.#state === 'open') {
        this.#state = 'away';
        this.#logger.warn({ err: error }, 'the audit log cannot be written; its entries wait');
      }
      return false;
    }
  }
}
