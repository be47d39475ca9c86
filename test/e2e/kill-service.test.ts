// promise: P1 P3 P6
import { expect, test } from 'vitest';
import { connectServer } from '../../src/client/server-client.ts';
import { type BuiltServer, builtServer } from '../support/built-server.ts';
import { machine } from '../support/program.ts';
import { eventsIn } from '../support/server.ts';

const KILLS = 50;
const SLOW = [{ kind: 'deltas' as const, count: 2_000, text: 'word ', deltaEveryMs: 10 }];

/** The same sequence in every run of the test, so that a failure can be had again. */
function randomDelays(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state / 2 ** 32) * 900;
  };
}

/** What a reader with the client library has of an execution when its log ends, over any number of services. */
async function follow(server: BuiltServer, id: string, transport: 'sse' | 'websocket'): Promise<string[]> {
  const client = connectServer({ url: server.url, key: server.key, transport });
  const events: string[] = [];
  for await (const batch of client.events(id, { after: 0 })) events.push(...batch.map(({ bytes }) => bytes));
  await client.close({ force: false });
  return events;
}

test(`the service is killed at ${KILLS} random points: readers miss nothing, and every accepted execution has one end`, async () => {
  const home = await machine(SLOW);
  const env = { CC_DRAIN_MS: '0', CC_MAX_CONCURRENT: '1' };
  let server = await builtServer({ machine: home, env });
  const { port } = new URL(server.url);
  const delay = randomDelays(7);
  const accepted: { id: string; readers: Promise<string[]>[] }[] = [];
  for (let kill = 0; kill < KILLS; kill += 1) {
    const { id } = await server.submit({ prompt: `run ${kill}` });
    accepted.push({ id, readers: [follow(server, id, 'sse'), follow(server, id, 'websocket')] });
    await new Promise((resolve) => setTimeout(resolve, delay()));
    server.running.child.kill('SIGKILL');
    await server.running.ended;
    server = await builtServer({ machine: home, env: { ...env, CC_PORT: port } });
  }
  // Those that never started still wait; they are not what this test is about.
  for (const { id } of accepted) await server.call(`/v1/executions/${id}/cancel`, { method: 'POST' });
  for (const { id, readers } of accepted) {
    const [overSse, overSocket] = await Promise.all(readers);
    const log = eventsIn(await server.stream(id)).map(([, , data]) => data);
    expect(log.map((event) => JSON.parse(event).seq)).toEqual(log.map((_, index) => index + 1));
    expect(log.filter((event) => event.includes('"type":"execution.finished"'))).toHaveLength(1);
    expect(overSse).toEqual(log);
    expect(overSocket).toEqual(log);
    expect((await server.get(id)).outcome?.kind).toMatch(/^(lost|cancelled)$/);
  }
}, 400_000);
