import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { type Box, type BoxPlace, enclose } from '../../src/isolation/box.ts';
import { writeBoxFiles } from '../../src/isolation/isolation.ts';
import { type LaunchedProcess, type LaunchOptions, launch } from '../../src/isolation/launcher.ts';
import { type CapabilityName, has } from './capabilities.ts';
import { temporaryFolder } from './processes.ts';

/** Who runs in the boxes of tests; root drops to it. */
export const RUN_USER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined;

/** Every way to enclose a run, by the name that tests print. */
export const BOXES = {
  L1: 'perl',
  L2: 'landlock',
  'L2 with open sockets': 'landlock',
  L3: 'bubblewrap',
  'L3 with a shared /proc': 'bubblewrap',
} as const satisfies Record<string, CapabilityName>;
export type BoxName = keyof typeof BOXES;

export const boxNames: readonly BoxName[] = (Object.keys(BOXES) as BoxName[]).filter((name) => has(BOXES[name]));

/** A folder with what a run has, and a port and a socket for it to reach. */
export interface BoxSite extends AsyncDisposable {
  folder: string;
  workspace: string;
  /** The port that may be reached at L2. */
  port: number;
  box(name: BoxName): Box;
  place(name: BoxName): BoxPlace;
  /** Starts a command in a box, without standing input of a terminal; all are ended with the site. */
  start(name: BoxName, file: string, args: readonly string[], options?: Partial<LaunchOptions>): LaunchedProcess;
  shell(name: BoxName, script: string): LaunchedProcess;
}

/** @param readable further paths that the boxes show */
export async function boxSite(readable: readonly string[] = []): Promise<BoxSite> {
  const stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(await temporaryFolder());
  chmodSync(folder, 0o711);
  const own = (name: string): string => {
    const path = join(folder, name);
    mkdirSync(path, { mode: 0o700 });
    if (RUN_USER !== undefined) chownSync(path, RUN_USER.uid, RUN_USER.gid);
    return path;
  };
  const [workspace, home, gateway] = [own('workspace'), own('home'), own('gateway')];
  const etc = writeBoxFiles(folder);
  const port = await listening(stack, { host: '127.0.0.1', port: 0 });
  await listening(stack, { path: join(gateway, 's') });
  chmodSync(join(gateway, 's'), 0o666);
  const box = (name: BoxName): Box => {
    if (name === 'L1') return { level: 'L1' };
    if (name.startsWith('L2')) return { level: 'L2', sockets: name === 'L2' ? 'strict' : 'all' };
    return { level: 'L3', proc: name === 'L3' ? 'own' : 'shared', bwrap: '/usr/bin/bwrap', etc };
  };
  const place = (name: BoxName): BoxPlace => ({
    readable,
    writable: [workspace, home],
    home,
    gateway: name.startsWith('L3') ? { socket: join(gateway, 's') } : { port },
  });
  const start: BoxSite['start'] = (name, file, args, options = {}) => {
    const command = { file, args, env: { PATH: '/usr/bin:/bin', HOME: home, CC_RUN_ID: folder }, cwd: workspace };
    const launched = launch({
      ...(RUN_USER === undefined ? {} : { identity: RUN_USER }),
      ...enclose(box(name), place(name), command),
      ...options,
    });
    stack.defer(async () => {
      launched.kill();
      await launched.exited;
    });
    return launched;
  };
  return {
    folder,
    workspace,
    port,
    box,
    place,
    start,
    shell: (name, script) => start(name, '/bin/sh', ['-c', script]),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Answers `gateway` to whoever asks. */
async function listening(
  stack: AsyncDisposableStack,
  at: { host: string; port: number } | { path: string },
): Promise<number> {
  const server = createServer((_request, response) => response.end('gateway'));
  await new Promise<void>((resolve) => server.listen(at, resolve));
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
