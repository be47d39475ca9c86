import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent } from 'undici';
import { DailySpend } from '../src/executions/daily-spend.ts';
import { type ModelGateway, startModelGateway } from '../src/model-gateway/model-gateway.ts';
import type { SpendPort } from '../src/model-gateway/spend-port.ts';
import type { StepInput } from '../src/scripted-model/steps.ts';
import { openSqliteStorage } from '../src/storage/sqlite/sqlite-storage.ts';
import { alternate, type Benchmark, median, ms, times } from './measure.ts';
import { modelProcess } from './model-process.ts';

const CALLS = 100;
const BIG: StepInput = { kind: 'deltas', count: 100_000, text: 'x'.repeat(100) };
const BODY = JSON.stringify({
  model: 'sonnet',
  max_tokens: 10,
  stream: true,
  messages: [{ role: 'user', content: 'x' }],
});

export const gateway: Benchmark = {
  name: 'gateway',
  about:
    'model calls through the gateway against the same calls directly, over kept-alive connections; aims ≤ 3 ms added, ≥ 0.9 × MB/s',
  run: async (quick) => {
    const small = await withGateway({ kind: 'text', text: 'Hello' }, (call) =>
      alternate(
        quick ? 5 : 10,
        () => callMedian(() => call('through')),
        () => callMedian(() => call('direct')),
      ),
    );
    const limited = await withLimit((spend) =>
      withGateway(
        { kind: 'text', text: 'Hello' },
        (call) =>
          alternate(
            quick ? 5 : 10,
            () => callMedian(() => call('through')),
            () => callMedian(() => call('direct')),
          ),
        spend,
      ),
    );
    const big = await withGateway(BIG, (call) =>
      alternate(
        quick ? 3 : 9,
        () => throughput(() => call('through')),
        () => throughput(() => call('direct')),
      ),
    );
    const [through, direct] = [median(small.a), median(small.b)];
    const [counted, uncounted] = [median(limited.a), median(limited.b)];
    const [fast, bare] = [median(big.a), median(big.b)];
    return [
      `${times(through / direct)}  small answer: ${ms(through)} through, ${ms(direct)} direct, ${ms(through - direct)} added, n=${small.a.length * CALLS} each`,
      `${times(counted / uncounted)}  with a limit of the day: ${ms(counted)} through, ${ms(uncounted)} direct, ${ms(counted - uncounted)} added, n=${limited.a.length * CALLS} each`,
      `${times(fast / bare)}  big stream: ${fast.toFixed(1)} MB/s through, ${bare.toFixed(1)} MB/s direct, n=${big.a.length} each`,
    ];
  },
};

/** Makes one call and resolves with the bytes of its answer. */
type Call = (way: 'through' | 'direct') => Promise<number>;

/** A limit that is never reached, in a store of its own. */
async function withLimit<T>(use: (spend: SpendPort) => Promise<T>): Promise<T> {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'cc-bench-'));
  const storage = await openSqliteStorage({ dataDirectory });
  const limitsOf = async () => ({ tenantUsd: 1e6, keyUsd: 1e6 });
  const spend = new DailySpend({ storage, limitsOf, logger: console });
  try {
    return await use(spend);
  } finally {
    await spend.close();
    await storage.close();
    await rm(dataDirectory, { recursive: true });
  }
}

async function withGateway<T>(step: StepInput, use: (call: Call) => Promise<T>, spend?: SpendPort): Promise<T> {
  const model = await modelProcess([step]);
  const credential = { kind: 'api_key' as const, current: async () => 'sk-ant-api03-bench' };
  const served: ModelGateway = await startModelGateway({
    upstream: model.url,
    ...(spend && { spend }),
    listen: { host: '127.0.0.1', port: 0 },
  });
  const token = served.issueToken();
  served.attach(token, {
    executionId: 'bench',
    credential,
    payer: { tenant: 'bench', keyId: 'bench' },
    onCall: () => {},
  });
  const dispatcher = new Agent();
  const call: Call = async (way) => {
    const { statusCode, body } = await dispatcher.request({
      origin: way === 'through' ? served.baseUrl : model.url,
      path: '/v1/messages',
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': token, 'anthropic-version': '2023-06-01' },
      body: BODY,
    });
    let bytes = 0;
    for await (const chunk of body) bytes += Buffer.from(chunk).length;
    if (statusCode !== 200) throw new Error(`HTTP ${statusCode}`);
    return bytes;
  };
  try {
    return await use(call);
  } finally {
    await Promise.all([served.close(), dispatcher.close()]);
    await model.close();
  }
}

async function callMedian(call: () => Promise<number>): Promise<number> {
  const taken: number[] = [];
  for (let made = 0; made < CALLS; made += 1) {
    const start = performance.now();
    await call();
    taken.push(performance.now() - start);
  }
  return median(taken);
}

/** Megabytes per second. */
async function throughput(call: () => Promise<number>): Promise<number> {
  const start = performance.now();
  const bytes = await call();
  return bytes / 1000 / (performance.now() - start);
}
