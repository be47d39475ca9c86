import type { GatewayCredential } from './gateway-headers.ts';
import { Upstream, type UpstreamProxy } from './upstream.ts';

const LIMIT_MS = 8_000;
const BODY = JSON.stringify({ model: 'claude-haiku-4-5', messages: [{ role: 'user', content: 'x' }] });

export interface Tried {
  answer: 'accepted' | 'refused' | 'unknown';
  /** Of HTTP; null when there was no answer. */
  status: number | null;
  detail: string;
}

/** Asks the model API to count the tokens of one letter, which costs nothing, to see whether it takes the credential. */
export async function tryCredential(options: {
  upstream: string;
  credential: GatewayCredential;
  proxy: UpstreamProxy;
}): Promise<Tried> {
  const upstream = new Upstream({ url: options.upstream, proxy: options.proxy });
  try {
    const request = {
      target: '/v1/messages/count_tokens',
      headers: { 'content-type': ['application/json'], 'anthropic-version': ['2023-06-01'] },
      body: Buffer.from(BODY),
      signal: AbortSignal.timeout(LIMIT_MS),
    };
    const answer = await upstream.send(request, options.credential);
    if (answer.kind === 'no_credential') return { answer: 'refused', status: null, detail: answer.message };
    // Destroying a body that was not read is reported as an error of the stream; it is meant.
    answer.body.once('error', () => {}).destroy();
    const { status } = answer;
    const detail = `HTTP ${status}`;
    if (status === 401 || status === 403) return { answer: 'refused', status, detail };
    return { answer: status < 500 ? 'accepted' : 'unknown', status, detail };
  } catch (error) {
    return { answer: 'unknown', status: null, detail: error instanceof Error ? error.message : String(error) };
  } finally {
    await upstream.close();
  }
}
