import { setTimeout as delay } from 'node:timers/promises';
import type { ServerClient } from '../../src/client/server-client.ts';
import type { Execution } from '../../src/protocol/execution.ts';

/** What the service says of an execution when all is over. */
export interface StoredRun {
  execution: Execution;
  /** Its log: the events' bytes; undefined for one that has not finished. */
  events: readonly string[] | undefined;
}

const POLL_MS = 500;
const AT_ONCE = 8;
const PAGE = 200;

/** Every execution there is. */
export async function listAll(client: ServerClient, state?: Execution['state']): Promise<Execution[]> {
  const all: Execution[] = [];
  let cursor: string | null | undefined;
  do {
    const page = await client.list({
      limit: PAGE,
      ...(state === undefined ? {} : { state }),
      ...(cursor == null ? {} : { cursor }),
    });
    all.push(...page.executions);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return all;
}

/** Waits until every execution has finished; returns those that have not within `ms`. */
export async function unfinishedAfter(client: ServerClient, ms: number): Promise<Execution[]> {
  const deadline = performance.now() + ms;
  for (;;) {
    const states = ['queued', 'running', 'paused'] as const;
    const unfinished = (await Promise.all(states.map((state) => listAll(client, state)))).flat();
    if (unfinished.length === 0 || performance.now() > deadline) return unfinished;
    await delay(POLL_MS);
  }
}

/** Reads records and logs of finished executions, from any node. */
export async function readStored(ids: readonly string[], client: () => ServerClient): Promise<StoredRun[]> {
  const waiting = [...ids];
  const stored: StoredRun[] = [];
  const read = async (): Promise<void> => {
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      const events: string[] = [];
      for await (const batch of client().events(id, { after: 0 })) events.push(...batch.map(({ bytes }) => bytes));
      stored.push({ execution: await client().get(id), events });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, read));
  return stored;
}
