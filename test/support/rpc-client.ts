import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import WebSocket from 'ws';

/** An answer or a notification as it came, whose inside a test looks into as it likes. */
type Message = ReturnType<typeof JSON.parse>;

export interface RpcClient {
  socket: WebSocket;
  /** Every text frame as it came, in order. */
  frames: string[];
  /** Calls a method and resolves with its answer, `result` or `error`. */
  call(method: string, params?: unknown): Promise<Message>;
  send(text: string): void;
  /** Resolves with the first frame, of those to come or those that came, that `matches`. */
  frame(matches: (message: Message) => boolean): Promise<Message>;
  /** The events of an execution so far, byte for byte. */
  events(executionId: string): string[];
  closed: Promise<{ code: number; reason: string }>;
}

const EVENT_HEAD = '{"jsonrpc":"2.0","method":"event","params":';

/** A JSON-RPC client over a WebSocket, as thin as one can be; closed after the test. */
export async function rpcClient(
  url: string,
  options: { key?: string; headers?: Record<string, string>; protocols?: string[]; path?: string } = {},
): Promise<RpcClient> {
  const { key, headers = {}, protocols = [], path = '/v1/ws' } = options;
  const authorization = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const socket = new WebSocket(`${url.replace('http', 'ws')}${path}`, protocols, {
    headers: { ...authorization, ...headers },
    perMessageDeflate: false,
  });
  onTestFinished(() => socket.terminate());
  const frames: string[] = [];
  const waiting = new Set<() => void>();
  socket.on('message', (data) => {
    frames.push(String(data));
    for (const look of [...waiting]) look();
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => {
      resolve({ code, reason: String(reason) });
      for (const look of [...waiting]) look();
    });
  });
  await once(socket, 'open');
  const frame = (matches: (message: Message) => boolean): Promise<Message> =>
    new Promise((resolve, reject) => {
      let seen = 0;
      const look = (): void => {
        for (; seen < frames.length; seen += 1) {
          const message: Message = JSON.parse(frames[seen] ?? '');
          if (!matches(message)) continue;
          waiting.delete(look);
          resolve(message);
          return;
        }
        if (socket.readyState >= WebSocket.CLOSING) reject(new Error(`closed; frames: ${frames.slice(-3).join('\n')}`));
      };
      waiting.add(look);
      look();
    });
  let calls = 0;
  return {
    socket,
    frames,
    frame,
    closed,
    send: (text) => socket.send(text),
    call: async (method, params) => {
      calls += 1;
      const id = `c${calls}`;
      socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }) }));
      return frame((message) => message.id === id);
    },
    events: (executionId) =>
      frames
        .filter((text) => text.startsWith(EVENT_HEAD) && text.includes(executionId))
        .map((text) => text.slice(EVENT_HEAD.length, -1)),
  };
}
