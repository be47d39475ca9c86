import { ServiceError } from '../../protocol/errors.ts';
import type { Spool } from './spool.ts';

/** One writer has one append on its way; far more is somebody's mistake. */
const MAX_WAITING = 1_000;

/** Does what concerns one execution one after the other, in the order of the calls. */
export class Lane {
  readonly executionId: string;
  /** Where its appends go; `undefined` while the store takes them. */
  spool: Spool | undefined;
  /** The replay under way. */
  replaying: Promise<void> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(executionId: string) {
    this.executionId = executionId;
  }

  get idle(): boolean {
    return this.#waiting === 0 && this.spool === undefined;
  }

  /** Resolves when everything asked for so far is done. */
  async settled(): Promise<void> {
    await this.#last;
  }

  /** @throws ServiceError `storage_unavailable` when too much waits already */
  async inOrder<T>(task: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) {
      const message = `${this.#waiting} appends of execution ${this.executionId} wait for the store already.`;
      throw new ServiceError('storage_unavailable', message);
    }
    this.#waiting += 1;
    const done = this.#last.then(task);
    this.#last = done.then(
      () => undefined,
      () => undefined,
    );
    try {
      return await done;
    } finally {
      this.#waiting -= 1;
    }
  }
}
