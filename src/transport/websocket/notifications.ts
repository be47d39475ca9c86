import type { z } from 'zod';
import type { StoredEvent } from '../../protocol/events.ts';
import type { RPC_NOTIFICATIONS } from '../../protocol/rpc-methods.ts';

type NotificationName = Exclude<keyof typeof RPC_NOTIFICATIONS, 'event'>;

const eventFrames = new WeakMap<StoredEvent, Buffer>();

/** The frame of an event: its bytes as they are stored. Made once, and shared by all who read the same event. */
export function eventFrame(event: StoredEvent): Buffer {
  const known = eventFrames.get(event);
  if (known !== undefined) return known;
  const frame = Buffer.from(`{"jsonrpc":"2.0","method":"event","params":${event.bytes}}`);
  eventFrames.set(event, frame);
  return frame;
}

export function notificationFrame<N extends NotificationName>(
  method: N,
  params: z.infer<(typeof RPC_NOTIFICATIONS)[N]['params']>,
): Buffer {
  return Buffer.from(JSON.stringify({ jsonrpc: '2.0', method, params }));
}
