import type { Append } from '../storage.ts';

const MAX_EVENTS = 500;
const MAX_BYTES = 256 * 1024;

/** An append, and the offset of its file behind it. */
export interface Spooled {
  append: Append;
  end: number;
}

/**
 * Joins appends that follow one another: each costs the store a wait for its disk, and there may be thousands. One that
 * is a record alone stays alone.
 */
export async function* joinedAppends(entries: AsyncIterable<Spooled>): AsyncGenerator<Spooled, void, undefined> {
  let joined: Spooled | undefined;
  let bytes = 0;
  let damage: { error: unknown } | undefined;
  try {
    for await (const { append, end } of entries) {
      const size = append.events.reduce((sum, event) => sum + event.bytes.length, 0);
      if (joined !== undefined && fits(joined.append, append) && bytes + size <= MAX_BYTES) {
        joined = { append: join(joined.append, append), end };
        bytes += size;
        continue;
      }
      if (joined !== undefined) yield joined;
      joined = { append, end };
      bytes = size;
    }
  } catch (error) {
    damage = { error };
  }
  // What stands before a damage is stored all the same.
  if (joined !== undefined) yield joined;
  if (damage !== undefined) throw damage.error;
}

function fits(before: Append, { fence, events }: Append): boolean {
  const some = before.events.length > 0 && events.length > 0;
  return some && before.fence === fence && before.events.length + events.length <= MAX_EVENTS;
}

function join(before: Append, { events, execution, ...rest }: Append): Append {
  const latest = execution ?? before.execution;
  return { ...rest, events: [...before.events, ...events], ...(latest === undefined ? {} : { execution: latest }) };
}
