import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { builtServer } from '../support/built-server.ts';
import { rpcClient } from '../support/rpc-client.ts';
import { callsTo } from '../support/server.ts';

/** What nobody but its holder knows of a key or token. */
function secretOf(presented: string): string {
  return presented.slice(-24);
}

it('no key and no token is written to the log, however it is presented and whether it is right', async () => {
  const server = await builtServer({ env: { CC_LOG_LEVEL: 'trace' } });
  const { url, call, running } = server;
  const { key, id } = await (await call('/v1/keys', { json: { name: 'k', scopes: ['admin'] } })).json();
  const caller = callsTo(url, key);
  const { token } = await (await caller.call('/v1/auth/token', { json: {} })).json();
  const rotated = await (await call(`/v1/keys/${id}/rotate`, { json: {} })).json();
  const wrong = `cck_${'0'.repeat(16)}_${'wrong-'.repeat(5)}xx`;
  const presented = [key, token, rotated.key, wrong];
  for (const secret of presented) {
    const { call: asked } = callsTo(url, secret);
    for (const path of [
      '/v1/executions',
      `/v1/executions?key=${secret}`,
      `/nowhere/${secret}`,
      `/v1/executions/${secret}%`,
    ]) {
      await asked(path);
    }
    await asked('/v1/auth/token', { json: { token: secret } });
    await asked('/v1/auth/revoke', { json: { token: secret, tokenId: secret } });
    await call('/v1/executions', {
      headers: { authorization: `Basic ${Buffer.from(`a:${secret}`).toString('base64')}` },
    });
    const client = await rpcClient(url, { protocols: ['cc-executor.v1', `bearer.${secret}`] });
    client.send(
      JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'authenticate', params: { key: secret, more: secret } }),
    );
    client.send(`{"jsonrpc":"2.0","method":"${secret}`);
    await expect(rpcClient(url, { path: `/ws?token=${secret}` })).rejects.toThrow('400');
    const raw = connect({ host: '127.0.0.1', port: Number(new URL(url).port) })
      .on('error', () => {})
      .resume();
    raw.end(`GET /health HTTP/1.1\r\nx-api-key ${secret}\r\n\r\n`);
    await new Promise((resolve) => raw.once('close', resolve));
  }
  await server.end('SIGTERM');
  const { stderr, stdout } = running.said();
  expect(stderr).toContain('"route":"/v1/executions"');
  for (const secret of presented) expect(`${stderr}${stdout}`.includes(secretOf(secret))).toBe(false);
});
