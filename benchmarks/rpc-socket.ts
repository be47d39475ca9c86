import { once } from 'node:events';
import WebSocket from 'ws';
import { z } from 'zod';

const Frame = z.looseObject({ id: z.int().optional(), error: z.unknown().optional(), result: z.unknown().optional() });

export interface RpcSocket {
  /** @throws Error with what the service answered, when that is an error */
  call(method: string, params: object): Promise<unknown>;
  close(): Promise<void>;
}

/**
 * A thin JSON-RPC client over a WebSocket; `onNotification` gets the text of every frame that answers no call. The key
 * goes with the opening request, so the connection is authenticated when its first call is answered.
 */
export async function rpcSocket(
  { url, key }: { url: string; key: string },
  onNotification: (text: string) => void,
): Promise<RpcSocket> {
  const headers = { authorization: `Bearer ${key}` };
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, { headers, perMessageDeflate: false });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  const closed = once(socket, 'close').then(([code]) => {
    for (const { reject } of waiting.values()) reject(new Error(`the connection was closed with ${code}`));
  });
  socket.on('message', (data) => {
    const text = String(data);
    if (text.startsWith('{"jsonrpc":"2.0","method":')) return onNotification(text);
    const { id, error, result } = Frame.parse(JSON.parse(text));
    const call = waiting.get(id ?? 0);
    waiting.delete(id ?? 0);
    if (error === undefined) call?.resolve(result);
    else call?.reject(new Error(JSON.stringify(error)));
  });
  await once(socket, 'open');
  let calls = 0;
  return {
    call: (method, params) => {
      calls += 1;
      const answer = Promise.withResolvers<unknown>();
      waiting.set(calls, answer);
      socket.send(JSON.stringify({ jsonrpc: '2.0', id: calls, method, params }));
      return answer.promise;
    },
    close: async () => {
      socket.close();
      await closed;
    },
  };
}
