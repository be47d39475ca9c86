import type { ServiceError } from '../protocol/errors.ts';
import type { StoredEvent } from '../protocol/events.ts';
import { EventSocket } from './event-socket.ts';
import { notRunning, type ServerAddress } from './server-address.ts';

/** One WebSocket with one subscription; see `OpenEvents` for what it gives. */
export async function* websocketEvents(
  server: ServerAddress,
  id: string,
  { after, signal }: { after: number; signal: AbortSignal },
): AsyncGenerator<readonly StoredEvent[], void, undefined> {
  const left: ServiceError = notRunning(server, 'the client has left');
  const socket = new EventSocket(server, { executionId: id, after });
  const leave = (): void => socket.end(left);
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  try {
    for (let batch = await socket.next(); batch !== undefined; batch = await socket.next()) yield batch;
  } finally {
    signal.removeEventListener('abort', leave);
    socket.end(left);
  }
}
