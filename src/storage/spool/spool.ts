import { ServiceError } from '../../protocol/errors.ts';
import type { Append } from '../storage.ts';
import type { Spooled } from './joined-appends.ts';
import { decodeEntry } from './spool-entry.ts';
import { SpoolFile } from './spool-file.ts';

/** `growing` takes appends; `ended` holds `execution.finished`; `leftover` is of an earlier life of the service. */
type SpoolState = 'growing' | 'ended' | 'leftover';

/** The appends of one execution and one writer that wait for the store, in order. They are on the disk alone. */
export class Spool {
  readonly executionId: string;
  readonly fence: number;
  readonly file: SpoolFile;
  /** Up to this offset of the file the store has everything. */
  taken = 0;
  #state: SpoolState;
  #nextSeq: number | undefined;

  constructor(
    file: SpoolFile,
    { executionId, fence, state }: { executionId: string; fence: number; state: SpoolState },
  ) {
    this.file = file;
    this.executionId = executionId;
    this.fence = fence;
    this.#state = state;
  }

  /** Opens a file that was found; `undefined` when its first line is no entry. */
  static async leftover(
    executionId: string,
    { path, size }: { path: string; size: number },
  ): Promise<Spool | undefined> {
    const file = new SpoolFile(path, size);
    for await (const { line } of file.lines(0, size)) {
      const fence = decodeEntry(executionId, line)?.fence;
      return fence === undefined ? undefined : new Spool(file, { executionId, fence, state: 'leftover' });
    }
    return undefined;
  }

  get isLeftover(): boolean {
    return this.#state === 'leftover';
  }

  /**
   * What the store would refuse too.
   * @throws ServiceError `stale_writer`
   */
  assertFollows({ fence, events }: Append): void {
    const [first] = events;
    const gap = first !== undefined && this.#nextSeq !== undefined && first.seq !== this.#nextSeq;
    if (fence === this.fence && this.#state === 'growing' && !gap) return;
    const why = this.#state === 'ended' ? 'is finished' : 'has another writer';
    const message = `Execution ${this.executionId} ${gap ? `takes event ${this.#nextSeq} next` : why}; this is refused.`;
    throw new ServiceError('stale_writer', message);
  }

  /** Rejects with the system's error. */
  async write({ events }: Append, line: Buffer): Promise<void> {
    await this.file.append(line);
    const last = events.at(-1);
    if (last === undefined) return;
    this.#nextSeq = last.seq + 1;
    if (last.type === 'execution.finished') this.#state = 'ended';
  }

  /**
   * The appends from `taken` on, each with the offset behind it. A last line that was cut was never acknowledged and is
   * left out.
   * @throws ServiceError `internal` for a whole line that is no entry
   */
  async *entries(upTo: number): AsyncGenerator<Spooled, void, undefined> {
    for await (const { line, end } of this.file.lines(this.taken, upTo)) {
      const append = decodeEntry(this.executionId, line);
      if (append === undefined) {
        throw new ServiceError('internal', `The spool of execution ${this.executionId} is damaged before byte ${end}.`);
      }
      yield { append, end };
    }
  }
}
