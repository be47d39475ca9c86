import { ServiceError } from '../../protocol/errors.ts';
import type { StorageLog } from '../redis/connection.ts';
import type { Append } from '../storage.ts';
import { countLeft } from './replay.ts';
import type { Spool } from './spool.ts';
import type { SpoolFile } from './spool-file.ts';
import type { SpoolFolder } from './spool-folder.ts';
import { systemFailure } from './system-failure.ts';

/** More executions than one process runs; the oldest is forgotten past it, and the store refuses its writer by itself. */
const MAX_REFUSED = 10_000;

interface RefusedSpoolsOptions {
  folder: SpoolFolder;
  /** Bytes of refused files that are kept. */
  maxBytes: number;
  log: StorageLog;
}

/** Keeps what the store will never take, for people to look at, and refuses those who wrote it. */
export class RefusedSpools {
  readonly #options: RefusedSpoolsOptions;
  /** By execution: the fence of the writer whose spool was refused. */
  readonly #fences = new Map<string, number>();

  constructor(options: RefusedSpoolsOptions) {
    this.#options = options;
  }

  /** @throws ServiceError `stale_writer` */
  assertNotRefused({ executionId, fence }: Append): void {
    if (fence > (this.#fences.get(executionId) ?? 0)) return;
    const message = `Execution ${executionId}: the store has refused earlier events of this writer; it takes no more of them.`;
    throw new ServiceError('stale_writer', message);
  }

  /** Returns the system's error when the file stays where it is. */
  async add(spool: Spool, why: unknown): Promise<unknown> {
    const { executionId, fence, file, taken } = spool;
    this.#fences.set(executionId, fence);
    const [oldest] = this.#fences.keys();
    if (this.#fences.size > MAX_REFUSED && oldest !== undefined) this.#fences.delete(oldest);
    const fields = { err: why, executionId, events: await countLeft(spool), bytes: file.size - taken };
    this.#options.log.warn(fields, 'the store refused what was spooled of an execution; the file is kept for 7 days');
    return this.#keep(file, executionId);
  }

  /** For a file without a first entry: cut in its first line, which nobody was told is stored, or damaged. */
  async addUnreadable(file: SpoolFile, executionId: string): Promise<void> {
    if (!(await holdsWholeLine(file))) return file.remove();
    const failure = await this.#keep(file, executionId);
    const fields = { err: failure, executionId, bytes: file.size };
    this.#options.log.warn(fields, 'a spool file is damaged; it is kept for 7 days');
  }

  #keep(file: SpoolFile, executionId: string): Promise<unknown> {
    const { folder, maxBytes } = this.#options;
    const keep = async (): Promise<void> => {
      await file.moveTo(folder.refusedFileOf(executionId));
      await folder.pruneRefused(maxBytes);
    };
    return systemFailure(keep());
  }
}

async function holdsWholeLine(file: SpoolFile): Promise<boolean> {
  const lines = file.lines(0, file.size);
  try {
    return (await lines.next()).done !== true;
  } finally {
    await lines.return();
  }
}
