import type { GatewayCredential } from './gateway-headers.ts';
import { Upstream, type UpstreamProxy } from './upstream.ts';

const LIMIT_MS = 8_000;
const BODY = JSON.stringify({ model: 'claude-haiku-4-5', messages: [{ role: 'user', content: 'x' }] });

export interface Tried {
  answer: 'accepted' | 'refused' | 'unknown';
  detail: string;
}

/** Asks the model API to count the tokens of one letter, which costs nothing, to see whether it takes the credential. */
export async function tryCredential(options: {
  upstream: string;
  credential: GatewayCredential;
  proxy: UpstreamProxy;
}): Promise<Tried> {
  const upstream = new Upstream({ url: options.upstream, credential: options.credential, proxy: options.proxy });
  try {
    const answer = await upstream.send({
      target: '/v1/messages/count_tokens',
      headers: { 'content-type': ['application/json'], 'anthropic-version': ['2023-06-01'] },
      body: Buffer.from(BODY),
      signal: AbortSignal.timeout(LIMIT_MS),
    });
    if (answer.kind === 'no_credential') return { answer: 'refused', detail: answer.message };
    // Destroying a body that was not read is reported as an error of the stream; it is meant.
    answer.body.once('error', () => {}).destroy();
    const detail = `HTTP ${answer.status}`;
    if (answer.status === 401 || answer.status === 403) return { answer: 'refused', detail };
    return { answer: answer.status < 500 ? 'accepted' : 'unknown', detail };
  } catch (error) {
    return { answer: 'unknown', detail: error instanceof Error ? error.message : String(error) };
  } finally {
    await upstream.close();
  }
}
