import { chownSync, mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Egress, EgressProxy } from '../egress/egress-proxy.ts';
import type { Door } from '../isolation/box.ts';
import { EGRESS_PORT } from '../isolation/box-sandboxed.ts';
import type { BoxedRun } from './run-box.ts';

const SOCKET_NAME = 's';

/** The ways out of one process: to the model, and to the rest of the world where it has one. */
export interface Ways {
  gatewayDoor: Door;
  egressDoor: Door | undefined;
  egress: Egress | undefined;
  close(): Promise<void>;
}

/** Ports on loopback, which all runs share; what a run presents there tells it from the others. */
export async function portWays(proxy: EgressProxy, { gateway, proxied }: BoxedRun): Promise<Ways> {
  const egress = proxied ? await proxy.open() : undefined;
  return {
    gatewayDoor: { port: Number(new URL(gateway.baseUrl).port) },
    egressDoor: egress === undefined ? undefined : { port: proxy.port },
    egress,
    close: async () => egress?.close(),
  };
}

/** Sockets for this process alone, for a box that has a network of its own. */
export async function socketWays(proxy: EgressProxy, run: BoxedRun): Promise<Ways> {
  await using opened = new AsyncDisposableStack();
  const gatewaySocket = await socketFolder(opened, { run, name: 'gateway' });
  opened.defer(await run.gateway.openSocket(gatewaySocket.path));
  gatewaySocket.giveAway();
  const out = run.proxied ? await egressSocket(opened, proxy, run) : undefined;
  const ways = opened.move();
  return {
    gatewayDoor: gatewaySocket.door,
    egressDoor: out?.door,
    egress: out?.egress,
    close: () => ways.disposeAsync(),
  };
}

async function egressSocket(
  opened: AsyncDisposableStack,
  proxy: EgressProxy,
  run: BoxedRun,
): Promise<{ door: Door; egress: Egress }> {
  const socket = await socketFolder(opened, { run, name: 'egress' });
  const egress = await proxy.open({ socket: { path: socket.path, portInBox: EGRESS_PORT } });
  opened.defer(() => egress.close());
  socket.giveAway();
  return { door: socket.door, egress };
}

/**
 * A folder that holds one socket and alone shows in the box. The socket is bound by way of the open folder, because the
 * path of a unix socket may have 107 bytes only.
 */
async function socketFolder(
  opened: AsyncDisposableStack,
  { run: { directories, identity }, name }: { run: BoxedRun; name: string },
): Promise<{ path: string; door: Door; giveAway(): void }> {
  const folder = join(dirname(directories.home), name);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const held = await open(folder, 'r');
  opened.defer(() => held.close());
  const socket = join(folder, SOCKET_NAME);
  return {
    path: `/proc/self/fd/${held.fd}/${SOCKET_NAME}`,
    door: { socket },
    giveAway: () => {
      if (identity === undefined) return;
      for (const path of [folder, socket]) chownSync(path, identity.uid, identity.gid);
    },
  };
}
