import { Agent } from 'undici';
import { startModelGateway } from '../src/model-gateway/model-gateway.ts';
import { startScriptedModel } from '../src/scripted-model/scripted-model.ts';
import { alternate, type Benchmark, median, ms } from './measure.ts';

const CALLS = 100;

export const gateway: Benchmark = {
  name: 'gateway',
  about: 'one small streamed model call, through the gateway and directly; aim ≤ 1 ms added',
  run: async (quick) => {
    const model = await startScriptedModel({ script: [{ kind: 'text', text: 'Hello' }] });
    const credential = { kind: 'api_key' as const, current: async () => 'sk-ant-api03-bench' };
    const served = await startModelGateway({ upstream: model.url, credential, listen: { host: '127.0.0.1', port: 0 } });
    const token = served.issueToken();
    served.attach(token, { executionId: 'bench', onCall: () => {} });
    const dispatcher = new Agent();
    const body = JSON.stringify({
      model: 'sonnet',
      max_tokens: 10,
      stream: true,
      messages: [{ role: 'user', content: 'x' }],
    });
    const calls = async (origin: string): Promise<number> => {
      const taken: number[] = [];
      for (let call = 0; call < CALLS; call += 1) {
        const start = performance.now();
        const answer = await dispatcher.request({
          origin,
          path: '/v1/messages',
          method: 'POST',
          headers: { 'content-type': 'application/json', 'x-api-key': token, 'anthropic-version': '2023-06-01' },
          body,
        });
        await answer.body.text();
        taken.push(performance.now() - start);
      }
      return median(taken);
    };
    const measured = await alternate(
      quick ? 3 : 10,
      () => calls(served.baseUrl),
      () => calls(model.url),
    );
    await Promise.all([served.close(), model.close(), dispatcher.close()]);
    const [through, direct] = [median(measured.a), median(measured.b)];
    return [
      `${ms(through - direct)} added: ${ms(through)} through, ${ms(direct)} direct, ${measured.a.length} × ${CALLS} calls each`,
    ];
  },
};
