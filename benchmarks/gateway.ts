import { Agent } from 'undici';
import { type ModelGateway, startModelGateway } from '../src/model-gateway/model-gateway.ts';
import type { StepInput } from '../src/scripted-model/steps.ts';
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
    'model calls through the gateway against the same calls directly, over kept-alive connections; aim ≤ 1 ms added',
  run: async (quick) => {
    const small = await withGateway({ kind: 'text', text: 'Hello' }, (call) =>
      alternate(
        quick ? 5 : 10,
        () => callMedian(() => call('through')),
        () => callMedian(() => call('direct')),
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
    const [fast, bare] = [median(big.a), median(big.b)];
    return [
      `${times(through / direct)}  small answer: ${ms(through)} through, ${ms(direct)} direct, ${ms(through - direct)} added, n=${small.a.length * CALLS} each`,
      `${times(fast / bare)}  big stream: ${fast.toFixed(1)} MB/s through, ${bare.toFixed(1)} MB/s direct, n=${big.a.length} each`,
    ];
  },
};

/** Makes one call and resolves with the bytes of its answer. */
type Call = (way: 'through' | 'direct') => Promise<number>;

async function withGateway<T>(step: StepInput, use: (call: Call) => Promise<T>): Promise<T> {
  const model = await modelProcess([step]);
  const credential = { kind: 'api_key' as const, current: async () => 'sk-ant-api03-bench' };
  const served: ModelGateway = await startModelGateway({
    upstream: model.url,
    listen: { host: '127.0.0.1', port: 0 },
  });
  const token = served.issueToken();
  served.attach(token, {
    executionId: 'bench',
    credential,
    payer: { tenant: 'bench', keyId: undefined },
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
