import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { AddressPolicy } from '../outbound/checked-address.ts';
import { checkedAddress } from '../outbound/checked-address.ts';
import { dial } from './dial.ts';
import type { EgressLease } from './egress-lease.ts';
import { type ProxyRefusal, unreachable } from './proxy-refusal.ts';
import type { Target } from './proxy-target.ts';

/** A connection on which nothing moves, and one that is older than this, are cut. */
const IDLE_MS = 10 * 60_000;
const MAX_AGE_MS = 24 * 3600_000;

/** Connects a run to a target that its list lets through, if its address may be reached. */
export async function connectTo(
  target: Target,
  { lease, policy }: { lease: EgressLease; policy: AddressPolicy },
): Promise<Socket | ProxyRefusal> {
  const checked = await checkedAddress(target.host, policy);
  if (checked.kind === 'refused') return lease.refuseAddress(target);
  if (checked.kind === 'unknown') return unreachable(target.shown);
  const socket = await dial(target, { addresses: checked.addresses, signal: lease.closed });
  if (socket === undefined) return unreachable(target.shown);
  bound(socket, lease);
  socket.once('close', () => {
    lease.use.bytesSent += socket.bytesWritten;
    lease.use.bytesReceived += socket.bytesRead;
  });
  return socket;
}

/** Makes a connection end with its lease, with silence, and after a day. */
export function bound(socket: Socket, lease: EgressLease): void {
  // Two pipelines, the server and the lease listen to one socket, more than the usual ten.
  socket.setMaxListeners(30);
  lease.hold(socket);
  const tooOld = setTimeout(() => socket.destroy(), MAX_AGE_MS).unref();
  socket.once('close', () => clearTimeout(tooOld));
  socket.setTimeout(IDLE_MS, () => socket.destroy());
}

/** Passes bytes both ways, unread, until both sides have ended or one breaks. */
export async function join(client: Socket, upstream: Socket): Promise<void> {
  const ways = [pipeline(client, upstream), pipeline(upstream, client)];
  // A broken connection is broken for both sides; whoever reads it sees that.
  for (const { status } of await Promise.allSettled(ways)) {
    if (status === 'rejected') {
      client.destroy();
      upstream.destroy();
    }
  }
}
