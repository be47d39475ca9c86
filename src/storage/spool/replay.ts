import { ServiceError } from '../../protocol/errors.ts';
import type { Append, Storage } from '../storage.ts';
import { joinedAppends } from './joined-appends.ts';
import type { Outage } from './outage.ts';
import { replayEntry } from './replay-entry.ts';
import type { Spool } from './spool.ts';

/** With less than this left, appends wait for the rest. */
const LITTLE_BYTES = 1024 * 1024;
/** Then they wait for more than a little: a writer may be faster than the store. */
const MAX_ROUNDS = 8;

interface ReplayPort {
  storage: Storage;
  outage: Outage;
  isClosed: () => boolean;
}

/**
 * Replays what is spooled until little is left, while the spool may grow.
 * @throws ServiceError as `replayRest`
 */
export async function catchUp(spool: Spool, port: ReplayPort): Promise<void> {
  for (let round = 0; round < MAX_ROUNDS && spool.file.size - spool.taken > LITTLE_BYTES; round += 1) {
    await replayRest(spool, port);
  }
}

/**
 * Replays what is spooled now, in order.
 * @throws ServiceError `storage_unavailable`, and then the rest waits; what else the store or the file refuses is final
 */
export async function replayRest(spool: Spool, { storage, outage, isClosed }: ReplayPort): Promise<void> {
  const upTo = spool.file.size;
  let undecided: unknown;
  for await (const { append, end } of joinedAppends(spool.entries(upTo))) {
    if (isClosed()) throw new ServiceError('storage_unavailable', 'The service is closing.');
    try {
      await replayEntry(storage, append);
      undecided = undefined;
    } catch (error) {
      if (!isStaleUpdate(append, error)) throw error;
      undecided = error;
    }
    spool.taken = end;
    if (spool.isLeftover) outage.replayedLeftover(append.events.length);
  }
  if (undecided !== undefined) throw undecided;
  spool.taken = upTo;
}

/** A record alone, in a file that was replayed before: if the store has the events behind it, it has something newer. */
function isStaleUpdate({ events }: Append, error: unknown): boolean {
  return events.length === 0 && error instanceof ServiceError && error.code === 'stale_writer';
}

/** How many events the store has not taken, as far as the file can be read. */
export async function countLeft(spool: Spool): Promise<number> {
  let events = 0;
  try {
    for await (const { append } of spool.entries(spool.file.size)) events += append.events.length;
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== 'internal') throw error;
  }
  return events;
}
