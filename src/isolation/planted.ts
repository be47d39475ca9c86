import { randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { launch } from './launcher.ts';
import type { Identity } from './launcher-arguments.ts';
import { PERL } from './system-paths.ts';

/** The stand-in for a process of another tenant: its arguments and environment hold a secret, and it counts signals. */
const VICTIM = '$| = 1; my $count = 0; $SIG{USR1} = sub { $count++ }; print "0\\n"; print "$count\\n" while <STDIN>';

/** Secrets where a hostile run would look, and beside them what every run needs. */
export interface Planted {
  /** By the way that leads to them. */
  secrets: Readonly<Record<SecretName, string>>;
  file: string;
  port: number;
  socket: string;
  abstractName: string;
  pid: number;
  /** How many signals the process outside has got so far. */
  signals(): Promise<number>;
  /** A folder that is not the run's. */
  outside: string;
  home: string;
  workspace: string;
  /** Answers with `answer` on its port and on its socket, which has a folder of its own. */
  gateway: { port: number; socket: string; answer: string };
}

type SecretName = 'file' | 'environment' | 'arguments' | 'port' | 'socket' | 'abstract socket';

/** Plants everything below `parent`, owned by the user of runs; `stack` takes it away again. */
export async function plant(
  stack: AsyncDisposableStack,
  { parent, identity }: { parent: string; identity: Identity | undefined },
): Promise<Planted> {
  const secrets = {
    file: word(),
    environment: word(),
    arguments: word(),
    port: word(),
    socket: word(),
    'abstract socket': word(),
  };
  mkdirSync(parent, { recursive: true, mode: 0o711 });
  const folder = give(mkdtempSync(join(parent, 'probe-')), identity);
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const own = (name: string): string => {
    mkdirSync(join(folder, name), { mode: 0o700 });
    return give(join(folder, name), identity);
  };
  const [outside, home, workspace, door] = [own('outside'), own('home'), own('workspace'), own('gateway')];
  writeFileSync(join(outside, 'secret'), secrets.file, { mode: 0o600 });
  const answer = word();
  const abstractName = `cc-executor-probe-${word()}`;
  const [victim, port, gatewayPort] = await Promise.all([
    startVictim(stack, { secrets, identity }),
    listenOnPort(stack, secrets.port),
    listenOnPort(stack, answer),
    listen(stack, secrets['abstract socket'], { path: `\0${abstractName}` }),
    listenInFolder(stack, secrets.socket, { folder: outside, identity }),
    listenInFolder(stack, answer, { folder: door, identity }),
  ]);
  return {
    ...victim,
    secrets,
    file: give(join(outside, 'secret'), identity),
    port,
    socket: join(outside, SOCKET_NAME),
    abstractName,
    outside,
    home,
    workspace,
    gateway: { port: gatewayPort, socket: join(door, SOCKET_NAME), answer },
  };
}

const SOCKET_NAME = 's';

function word(): string {
  return randomBytes(12).toString('hex');
}

function give(path: string, identity: Identity | undefined): string {
  if (identity !== undefined) chownSync(path, identity.uid, identity.gid);
  return path;
}

async function startVictim(
  stack: AsyncDisposableStack,
  { secrets, identity }: { secrets: Planted['secrets']; identity: Identity | undefined },
): Promise<Pick<Planted, 'pid' | 'signals'>> {
  const victim = launch({
    command: {
      file: PERL,
      args: ['-e', VICTIM, `probe-secret-${secrets.arguments}`],
      env: { CC_PROBE_SECRET: secrets.environment },
      cwd: '/',
    },
    ...(identity === undefined ? {} : { identity }),
  });
  stack.defer(async () => {
    victim.kill();
    await victim.exited;
  });
  const lines = createInterface({ input: victim.stdout })[Symbol.asyncIterator]();
  const count = async (): Promise<number> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error((await victim.exited).failure?.message ?? 'A process of the probe ended');
    return Number(value);
  };
  await count();
  const signals = (): Promise<number> => {
    victim.stdin.write('\n');
    return count();
  };
  return { pid: await victim.cliPid, signals };
}

async function listenOnPort(stack: AsyncDisposableStack, text: string): Promise<number> {
  const address = await listen(stack, text, { host: '127.0.0.1', port: 0 });
  return (address as AddressInfo).port;
}

/** By way of the open folder, because the path of a unix socket may have 107 bytes only. */
async function listenInFolder(
  stack: AsyncDisposableStack,
  text: string,
  { folder, identity }: { folder: string; identity: Identity | undefined },
): Promise<void> {
  const opened = await open(folder, 'r');
  stack.defer(() => opened.close());
  await listen(stack, text, { path: `/proc/self/fd/${opened.fd}/${SOCKET_NAME}` });
  give(join(folder, SOCKET_NAME), identity);
}

/** Says `text` to whoever connects. */
async function listen(
  stack: AsyncDisposableStack,
  text: string,
  at: { host: string; port: number } | { path: string },
): Promise<ReturnType<ReturnType<typeof createServer>['address']>> {
  const server = createServer((socket) =>
    socket
      .on('error', () => {})
      .resume()
      .end(text),
  );
  stack.defer(() => new Promise((resolve) => server.close(() => resolve())));
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(at, resolve));
  return server.address();
}
