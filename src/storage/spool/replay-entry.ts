import { ServiceError } from '../../protocol/errors.ts';
import type { StoredEvent } from '../../protocol/events.ts';
import type { Append, Storage } from '../storage.ts';

const PAGE_BYTES = 1024 * 1024;

type Store = Pick<Storage, 'append' | 'updateExecution' | 'readEvents'>;

/** Offers an append to the store as its writer did. */
export function offer(store: Store, append: Append): Promise<void> {
  const { executionId, fence, events, execution } = append;
  if (events.length > 0 || execution === undefined) return store.append(append);
  return store.updateExecution(executionId, fence, execution);
}

/**
 * Stores a spooled append. What of it is stored already, byte for byte, was stored by an attempt whose answer was lost,
 * in this life of the service or an earlier one; with all its events its record was stored too.
 * @throws ServiceError as the store's `append`
 */
export async function replayEntry(store: Store, append: Append): Promise<void> {
  try {
    await offer(store, append);
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== 'stale_writer') throw error;
    const stored = await countStored(store, append);
    if (stored === 0) throw error;
    if (stored < append.events.length) await offer(store, { ...append, events: append.events.slice(stored) });
  }
}

/** How many of the events, from the first on, the store has. */
async function countStored(store: Store, { executionId, events }: Append): Promise<number> {
  let stored = 0;
  for (let next = events[0]; next !== undefined; next = events[stored]) {
    const page = await store.readEvents(executionId, {
      after: next.seq - 1,
      limit: events.length - stored,
      maxBytes: PAGE_BYTES,
    });
    const same = countSame(page.events, events.slice(stored));
    stored += same;
    if (same === 0 || same < page.events.length) break;
  }
  return stored;
}

function countSame(found: readonly StoredEvent[], expected: readonly StoredEvent[]): number {
  const differs = (event: StoredEvent, at: number): boolean => {
    const other = expected[at];
    return event.seq !== other?.seq || event.type !== other.type || event.bytes !== other.bytes;
  };
  const at = found.findIndex(differs);
  return at === -1 ? found.length : at;
}
