import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runCampaign } from '../campaign/campaign.ts';
import { checkHistory, type History } from '../campaign/check-history.ts';
import { openCluster } from '../campaign/cluster.ts';
import { FAULT_KINDS } from '../campaign/fault-plan.ts';
import type { StoredRun } from '../campaign/history.ts';
import { planSubmissions } from '../campaign/workload.ts';
import { has } from '../support/capabilities.ts';
import { executionOf, SUCCEEDED } from '../support/execution-records.ts';
import { type FaultProxy, faultProxy } from '../support/fault-proxy.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

describe.runIf(has('redis'))('a campaign', () => {
  test('of 300 runs and 50 faults breaks no promise', async () => {
    const cluster = await openCluster(await temporaryFolder());
    onTestFinished(() => cluster.close());
    const report = await runCampaign(
      { runs: 300, faults: 50, seed: 7, pace: 4, endWithinMs: 60_000, tell: () => {} },
      cluster,
    );
    expect(report.violations).toEqual([]);
    expect(Object.keys(report.faults)).toEqual([...FAULT_KINDS].sort());
    expect(report.outcomes.succeeded).toBeGreaterThan(150);
    expect(report.outcomes.lost).toBeGreaterThan(0);
    expect(report.reconnects).toBeGreaterThan(0);
  }, 300_000);
});

/** A history of one run that ended well, was followed, and wrote its start and end down. */
function soundHistory(): History & { stored: [StoredRun & { events: string[] }] } {
  const [plan] = planSubmissions(1, 1);
  if (plan === undefined) throw new Error('nothing is planned');
  const submission = { ...plan, kind: 'plain', idempotencyKey: 'k', retryMax: 0 } as const;
  const texts = ['1 ', '2 ', '3 ', '4 ', '5 ', '6 ', '7 ', '8 ', '9 ', '10 '];
  const data = [
    { type: 'execution.queued', data: {} },
    ...texts.map((text) => ({ type: 'claude.delta', data: { text } })),
    { type: 'execution.finished', data: { outcome: SUCCEEDED } },
  ];
  const events = data.map((event, index) => JSON.stringify({ seq: index + 1, ...event }));
  const metadata = { submission: '0' };
  const execution = executionOf({ state: 'finished', outcome: SUCCEEDED, lastSeq: events.length, metadata });
  const { id } = execution;
  return {
    submitted: [{ submission, ids: new Set([id]), attempts: 1, refusals: [], sessionId: undefined }],
    followed: [{ id, over: 'sse', events: [...events], reconnects: 0, failure: undefined }],
    stored: [{ execution, events }],
    journal: [{ runId: id, pid: 10, servicePid: 7, start: 1n, end: 2n, overlaps: [] }],
    faults: [],
    nodes: [{ name: 'worker-1', pids: new Set([7]) }],
  };
}

const kindsIn = (history: History): string[] => checkHistory(history).map(({ kind }) => kind);

describe('the check of a history', () => {
  test('finds nothing in one that is sound', () => {
    expect(kindsIn(soundHistory())).toEqual([]);
  });

  test('finds an accepted execution that is gone', () => {
    expect(kindsIn({ ...soundHistory(), stored: [], followed: [] })).toEqual(['lost record', 'unknown run']);
  });

  test('finds an event that is missing in a log, and a follower who has another log', () => {
    const history = soundHistory();
    history.stored[0].events.splice(3, 1);
    expect(kindsIn(history)).toEqual(['gap', 'gap', 'gap', 'follower']);
  });

  test('finds a second end', () => {
    const history = soundHistory();
    const { events } = history.stored[0];
    events.push((events.at(-1) ?? '').replace('"seq":12', '"seq":13'));
    expect(kindsIn(history)).toEqual(['gap', 'end', 'follower']);
  });

  test('finds a second start, and two runs of one workspace at once', () => {
    const history = soundHistory();
    const again = history.journal.map((run) => ({ ...run, pid: 11, overlaps: ['workspace'] }));
    const found = kindsIn({ ...history, journal: [...history.journal, ...again] });
    expect(new Set(found)).toEqual(new Set(['double start', 'overlap']));
  });

  test('finds two executions of one key', () => {
    const history = soundHistory();
    const twin = history.stored.map((run) => ({ ...run, execution: { ...run.execution, id: executionOf().id } }));
    expect(kindsIn({ ...history, stored: [...history.stored, ...twin] })).toContain('double');
  });

  test('finds a run that failed or was cancelled without a reason of its own', () => {
    const history = soundHistory();
    for (const kind of ['failed', 'cancelled', 'timed_out'] as const) {
      const stored = history.stored.map(({ execution, events }) => ({
        execution: { ...execution, outcome: { ...SUCCEEDED, kind } },
        events,
      }));
      expect(kindsIn({ ...history, stored })).toContain('outcome');
    }
  });
});

test('a lost run needs a fault of its worker, and one of Redis is none', () => {
  const history = soundHistory();
  const outcome = { ...SUCCEEDED, kind: 'lost' } as const;
  const stored = history.stored.map(({ execution }) => ({ execution: { ...execution, outcome }, events: undefined }));
  const kindsWith = (on: string): string[] =>
    kindsIn({ ...history, stored, faults: [{ kind: 'cut', on, from: 0n, until: 1n }] });
  expect(kindsWith('redis')).toEqual(['lost']);
  expect(kindsWith('worker-1')).toEqual([]);
  const journal = history.journal.map((run) => ({ ...run, servicePid: 1 }));
  expect(kindsIn({ ...history, stored, journal })).toEqual([]);
});

interface EchoedLine {
  proxy: FaultProxy;
  client: Socket;
  /** What came back. */
  heard(): string;
}

/** A client of a server that sends back what it gets, with a proxy between them. */
async function echoedLine(): Promise<EchoedLine> {
  const server = createServer((socket) => void socket.on('error', () => {}).pipe(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  const proxy = await faultProxy({ port: address.port, host: '127.0.0.1' });
  const client = connect(proxy.port, '127.0.0.1').on('error', () => {});
  onTestFinished(async () => {
    client.destroy();
    await proxy.close();
    server.close();
  });
  let heard = '';
  client.setEncoding('utf8').on('data', (text: string) => {
    heard += text;
  });
  client.write('a');
  await expect.poll(() => heard).toBe('a');
  return { proxy, client, heard: () => heard };
}

/** It comes after an error, too. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.once('close', () => resolve()));
}

describe('the fault proxy', () => {
  test('cuts what there is and what comes, until it is healed', async () => {
    const { proxy, client } = await echoedLine();
    const closed = closeOf(client);
    proxy.fault({ kind: 'cut' });
    await closed;
    await closeOf(connect(proxy.port, '127.0.0.1').on('error', () => {}));
    proxy.heal();
    const next = connect(proxy.port, '127.0.0.1');
    next.write('b');
    expect(String(await once(next, 'data'))).toBe('b');
    next.destroy();
  });

  test.each(['half-open', 'deaf'] as const)(
    '%s: nothing comes back, and healing resets the connection',
    async (kind) => {
      const { proxy, client, heard } = await echoedLine();
      proxy.fault({ kind });
      client.write('b');
      const other = connect(proxy.port, '127.0.0.1');
      await once(other, 'connect');
      expect([client.destroyed, heard()]).toEqual([false, 'a']);
      const closed = closeOf(client);
      other.on('error', () => {});
      proxy.heal();
      await closed;
      expect(heard()).toBe('a');
      other.destroy();
    },
  );

  test('slow: what comes late comes in order, and at once when it is healed', async () => {
    const { proxy, client, heard } = await echoedLine();
    proxy.fault({ kind: 'slow', delayMs: 600_000 });
    for (const letter of 'bcdef') client.write(letter);
    proxy.heal();
    for (const letter of 'ghi') client.write(letter);
    await expect.poll(heard).toBe('abcdefghi');
  });

  test('a fault of one connection leaves the others alone', async () => {
    const { proxy, client, heard } = await echoedLine();
    const second = connect(proxy.port, '127.0.0.1').on('error', () => {});
    second.write('x');
    await once(second, 'data');
    const closed = closeOf(second);
    proxy.fault({ kind: 'cut' }, 0.9);
    await closed;
    client.write('b');
    await expect.poll(heard).toBe('ab');
  });
});
