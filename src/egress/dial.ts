import { connect, isIPv6, type LookupFunction, type Socket } from 'node:net';
import { showHost } from '../protocol/host-name.ts';
import type { Target } from './proxy-target.ts';

const CONNECT_WITHIN_MS = 15_000;
/** Addresses that are tried; a name may have any number. */
const MAX_ADDRESSES = 8;

/** Connects to one of the addresses given, and to no other; `undefined` when none answers, or when `signal` aborts. */
export async function dial(
  { host, port }: Target,
  { addresses, signal }: { addresses: readonly string[]; signal: AbortSignal },
): Promise<Socket | undefined> {
  const tried = addresses.slice(0, MAX_ADDRESSES).map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }));
  const lookup: LookupFunction = (_name, _options, done) => done(null, tried);
  const name = host.kind === 'address' ? host.address : showHost(host);
  const socket = connect({ host: name, port, lookup, autoSelectFamily: true, allowHalfOpen: true, noDelay: true });
  const connected = Promise.withResolvers<boolean>();
  const giveUp = (): void => connected.resolve(false);
  const late = setTimeout(giveUp, CONNECT_WITHIN_MS);
  socket.once('connect', () => connected.resolve(true));
  socket.on('error', giveUp);
  signal.addEventListener('abort', giveUp);
  if (signal.aborted) giveUp();
  const succeeded = await connected.promise;
  clearTimeout(late);
  signal.removeEventListener('abort', giveUp);
  if (succeeded) return socket;
  socket.destroy();
  return undefined;
}
