import { setImmediate as nextTurn } from 'node:timers/promises';
import { ServiceError } from '../protocol/errors.ts';
import type { StoredEvent } from '../protocol/events.ts';
import type { EventPage, Storage } from '../storage/storage.ts';
import { EventWriter, type EventWriterOptions } from './event-writer.ts';
import { LiveBatches } from './live-batches.ts';

const PAGE_EVENTS = 500;
const PAGE_BYTES = 1024 * 1024;
/** Of a page that a caller asks for. */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;
const POLL_INTERVAL_MS = 100;
/** Where the storage tells what has grown: a bell may be missed while the connection is away. */
const WATCHED_POLL_INTERVAL_MS = 2_000;

/** Who writes and who reads one log in this process. */
interface Channel {
  writers: number;
  readers: Set<LiveBatches>;
}

interface Position {
  executionId: string;
  /** The `seq` the reader has already. */
  after: number;
}

/** Opens the writers of event logs, and lets any number of readers follow each log by its cursor. */
export class EventLog {
  readonly #storage: Storage;
  readonly #channels = new Map<string, Channel>();

  readonly #pollMs: number;

  constructor(storage: Storage) {
    this.#storage = storage;
    this.#pollMs = storage.watch === undefined ? POLL_INTERVAL_MS : WATCHED_POLL_INTERVAL_MS;
    storage.watch?.((executionId) => {
      for (const reader of this.#channels.get(executionId)?.readers ?? []) reader.wake();
    });
  }

  /** Opens the writer of an execution whose record this instance owns. */
  openWriter(options: EventWriterOptions): EventWriter {
    const { executionId } = options;
    const channel = this.#channel(executionId);
    channel.writers += 1;
    const stored = (events: readonly StoredEvent[]): void => {
      for (const reader of channel.readers) {
        reader.push(events);
      }
    };
    const ended = (): void => {
      channel.writers -= 1;
      this.#forgetIdle(executionId, channel);
      for (const reader of channel.readers) {
        reader.wake();
      }
    };
    return new EventWriter({ storage: this.#storage, stored, ended }, options);
  }

  /**
   * The events after `after`, in order, without gap or repetition, in batches; ends after `execution.finished` or
   * when `signal` aborts. A batch may be shared with other readers. Phases:
   *
   * 1. backfill: pages from the storage, until one reaches the log's end. The reader's queue is attached before the first page,
   *    so an event is in a later page, or in the queue, or in both.
   * 2. cut-over: the queue may start with events of the last pages; they are skipped by `seq`.
   * 3. live: batches from the queue. A reader that is too slow for its queue starts again at 1; so does one whose log
   *    no writer of this process writes, when the storage rings for it, and now and then.
   *
   * @throws ServiceError `not_found`; `cursor_in_future` with `lastSeq`; `truncated_before` with `firstSeq`
   */
  async *subscribe(
    executionId: string,
    options: { after: number; signal?: AbortSignal },
  ): AsyncGenerator<readonly StoredEvent[], void, undefined> {
    const channel = this.#channel(executionId);
    const queue = new LiveBatches();
    channel.readers.add(queue);
    const wake = (): void => queue.wake();
    options.signal?.addEventListener('abort', wake);
    try {
      const position = { executionId, after: options.after };
      while (options.signal?.aborted !== true) {
        const finished =
          (yield* this.#backfill(position, options.signal)) ||
          (yield* live(position, { queue, channel, pollMs: this.#pollMs, signal: options.signal }));
        if (finished) {
          return;
        }
      }
    } finally {
      options.signal?.removeEventListener('abort', wake);
      channel.readers.delete(queue);
      this.#forgetIdle(executionId, channel);
    }
  }

  /**
   * One page after a cursor: at most `limit` events, and at most about 8 MiB of them.
   * @throws ServiceError as `subscribe`
   */
  async page(executionId: string, { after, limit }: { after: number; limit: number }): Promise<EventPage> {
    const page = await this.#storage.readEvents(executionId, { after, limit, maxBytes: MAX_PAGE_BYTES });
    refuseCursor(after, page);
    return page;
  }

  /** Yields pages up to the log's end; returns whether the log is finished. */
  async *#backfill(
    position: Position,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<readonly StoredEvent[], boolean, undefined> {
    for (;;) {
      const page = await this.#storage.readEvents(position.executionId, {
        after: position.after,
        limit: PAGE_EVENTS,
        maxBytes: PAGE_BYTES,
      });
      refuseCursor(position.after, page);
      if (page.events.length > 0) {
        position.after = page.events.at(-1)?.seq ?? position.after;
        yield page.events;
      }
      if (position.after === page.lastSeq) {
        return page.finished;
      }
      if (signal?.aborted === true) {
        return false;
      }
      // An embedded storage answers without a turn of the event loop: a long log must not stop everyone else.
      await nextTurn();
    }
  }

  #channel(executionId: string): Channel {
    const channel = this.#channels.get(executionId) ?? { writers: 0, readers: new Set() };
    this.#channels.set(executionId, channel);
    return channel;
  }

  #forgetIdle(executionId: string, channel: Channel): void {
    if (channel.writers === 0 && channel.readers.size === 0 && this.#channels.get(executionId) === channel) {
      this.#channels.delete(executionId);
    }
  }
}

/** Yields what the writer hands over, until there is a reason to look into the storage; `true` after the last event. */
async function* live(
  position: Position,
  {
    queue,
    channel,
    pollMs,
    signal,
  }: { queue: LiveBatches; channel: Channel; pollMs: number; signal: AbortSignal | undefined },
): AsyncGenerator<readonly StoredEvent[], boolean, undefined> {
  while (signal?.aborted !== true && !queue.takeOverflow()) {
    const batch = queue.take();
    if (batch === undefined) {
      await queue.wait(waitOf(channel, pollMs));
      if (channel.writers === 0 && queue.isEmpty) {
        return false;
      }
      continue;
    }
    const fresh = batch.filter((event) => event.seq > position.after);
    const [first] = fresh;
    if (first !== undefined && first.seq !== position.after + 1) {
      return false;
    }
    position.after += fresh.length;
    if (first !== undefined) {
      yield fresh;
    }
    if (batch.at(-1)?.type === 'execution.finished') {
      return true;
    }
  }
  return false;
}

/** Who writes here hands over every batch: only then is there nothing to look for. */
function waitOf({ writers }: Channel, pollMs: number): number | undefined {
  return writers > 0 ? undefined : pollMs;
}

function refuseCursor(after: number, { firstSeq, lastSeq }: EventPage): void {
  if (after > lastSeq) {
    const message = `The cursor ${after} is ahead of the log, which ends at ${lastSeq}.`;
    throw new ServiceError('cursor_in_future', message, { data: { lastSeq } });
  }
  if (after + 1 < firstSeq) {
    const message = `The log starts at ${firstSeq}; what is before it is no longer kept. Read on after ${firstSeq - 1}.`;
    throw new ServiceError('truncated_before', message, { data: { firstSeq } });
  }
}
