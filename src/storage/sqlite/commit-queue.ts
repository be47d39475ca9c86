import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { ServiceError } from '../../protocol/errors.ts';
import type { Reserve } from './reserve.ts';
import { isBusy, isDiskFull, isStorageFailure, translateError } from './translate-error.ts';

/** A sync costs some 0.2 ms and a row some 4 µs, so writes that come together share one transaction. */
const MAX_GROUP = 256;
const MAX_WAITING = 10_000;
const PACE_MS = 2;
const BUSY_DEADLINE_MS = 5_000;
const BUSY_RETRY_MS = 5;

interface Job {
  /** Does the write inside the open transaction; the returned function settles the promise after the commit. */
  run(): () => void;
  reject(error: unknown): void;
  mayUseReserve: boolean;
}

/**
 * Runs writes in order, each all or nothing, several in one durable transaction. A write that is refused (its own
 * error) leaves the others alone; a failure of the medium makes each be tried by itself.
 */
export class CommitQueue {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #reserve: Reserve;
  readonly #sql: Record<'begin' | 'commit' | 'rollback' | 'savepoint' | 'release' | 'undo', StatementSync>;
  #waiting: Job[] = [];
  #cancelScheduled: (() => void) | undefined;
  #busySince: number | undefined;
  #paced = false;
  #closed = false;

  constructor(db: DatabaseSync, options: { file: string; reserve: Reserve }) {
    this.#db = db;
    this.#file = options.file;
    this.#reserve = options.reserve;
    this.#sql = {
      begin: db.prepare('BEGIN IMMEDIATE'),
      commit: db.prepare('COMMIT'),
      rollback: db.prepare('ROLLBACK'),
      savepoint: db.prepare('SAVEPOINT write'),
      release: db.prepare('RELEASE write'),
      undo: db.prepare('ROLLBACK TO write'),
    };
  }

  /**
   * Resolves with what `write` returned, once that is durable. `write` is synchronous and may run more than once.
   * @throws ServiceError `storage_unavailable`; whatever `write` throws
   */
  submit<T>(write: () => T, options: { mayUseReserve: boolean } = { mayUseReserve: false }): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed || this.#waiting.length >= MAX_WAITING) {
        const why = this.#closed ? 'is closed' : `has ${MAX_WAITING} writes waiting`;
        reject(new ServiceError('storage_unavailable', `The store ${this.#file} ${why}.`));
        return;
      }
      const run = (): (() => void) => {
        const value = write();
        return () => resolve(value);
      };
      this.#waiting.push({ run, reject, mayUseReserve: options.mayUseReserve });
      this.#schedule(this.#paced ? PACE_MS : 0);
    });
  }

  /** Stores what waits and takes no more. */
  close(): void {
    this.#closed = true;
    this.#cancelScheduled?.();
    while (this.#waiting.length > 0) {
      for (const job of this.#waiting.splice(0, MAX_GROUP)) {
        this.#commitAlone(job);
      }
    }
  }

  #schedule(delayMs: number): void {
    if (this.#cancelScheduled !== undefined) {
      return;
    }
    const next = (): void => {
      this.#cancelScheduled = undefined;
      this.#commitNext();
    };
    if (delayMs === 0) {
      const immediate = setImmediate(next);
      this.#cancelScheduled = () => clearImmediate(immediate);
    } else {
      const timer = setTimeout(next, delayMs);
      this.#cancelScheduled = () => clearTimeout(timer);
    }
  }

  #commitNext(): void {
    const group = this.#waiting.splice(0, MAX_GROUP);
    try {
      const settle = this.#transact(group);
      this.#busySince = undefined;
      for (const done of settle) {
        done();
      }
    } catch (error) {
      if (isBusy(error) && this.#mayWait()) {
        this.#waiting.unshift(...group);
        this.#schedule(BUSY_RETRY_MS);
        return;
      }
      this.#busySince = undefined;
      for (const job of group) {
        this.#commitAlone(job, error);
      }
    }
    // Writes that come one after the other never wait; those of many writers gather for a moment.
    this.#paced = group.length > 1;
    if (this.#waiting.length > 0) {
      this.#schedule(0);
    }
  }

  /** Another process holds the write lock: wait for it without stopping this one. */
  #mayWait(): boolean {
    this.#busySince ??= performance.now();
    return performance.now() - this.#busySince < BUSY_DEADLINE_MS;
  }

  /** Tries the write by itself; while another process holds the lock that would only stop this one again. */
  #commitAlone(job: Job, groupError?: unknown): void {
    try {
      if (isBusy(groupError)) {
        throw groupError;
      }
      this.#settleAlone(job);
    } catch (error) {
      job.reject(translateError(error, this.#file));
    }
  }

  #settleAlone(job: Job): void {
    let settle: (() => void)[];
    try {
      settle = this.#transact([job]);
    } catch (error) {
      if (!(job.mayUseReserve && isDiskFull(error) && this.#reserve.release())) {
        throw error;
      }
      settle = this.#transact([job]);
    }
    for (const done of settle) {
      done();
    }
  }

  #transact(group: readonly Job[]): (() => void)[] {
    this.#sql.begin.run();
    try {
      const settle = group.map((job) => this.#runOne(job));
      this.#sql.commit.run();
      return settle;
    } finally {
      if (this.#db.isTransaction) {
        this.#sql.rollback.run();
      }
    }
  }

  #runOne(job: Job): () => void {
    this.#sql.savepoint.run();
    try {
      const settle = job.run();
      this.#sql.release.run();
      return settle;
    } catch (error) {
      if (isStorageFailure(error)) {
        throw error;
      }
      this.#sql.undo.run();
      this.#sql.release.run();
      return () => job.reject(error);
    }
  }
}
