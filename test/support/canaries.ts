import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A word that occurs nowhere else; `name` says where it was put. */
export function canary(name: string): string {
  return `canary_${name}_${randomBytes(8).toString('hex')}`;
}

/** The names of the canaries that stand in a text as the sweep prints them. */
export function canariesIn(text: string): string[] {
  return [...new Set([...text.matchAll(/^([a-z_]+) [0-9a-f]{16}$/gm)].map(([, name = '']) => name))].sort();
}

/** Another process of the same user, which keeps secrets in every way that a process can, and tells of signals. */
export interface Neighbour {
  pid: number;
  port: number;
  socket: string;
  abstract: string;
  signalled(): boolean;
}

/** Shows the canaries it is given by name; the code of a program that has no other purpose. */
const PROGRAM = `
use strict; use warnings; use Socket;
my ($folder) = @ARGV;
my %canary = map { split /=/, $_, 2 } split ' ', <STDIN>;
my $memory = $canary{memory};
$| = 1;
$SIG{PIPE} = 'IGNORE'; $SIG{USR1} = sub { print "signalled\\n" };
open my $gone, '+>', "$folder/gone" or die; syswrite $gone, $canary{open_file}; unlink "$folder/gone";
open my $shm, '>', "/dev/shm/$canary{shared_memory}" or die; syswrite $shm, $canary{shared_memory};
my %listeners;
my $serve = sub { my ($name, $family, $address) = @_;
  socket my $it, $family, SOCK_STREAM, 0 or die; bind $it, $address or die "bind: $!"; listen $it, 9 or die; $listeners{$name} = $it };
$serve->('port', AF_INET, pack_sockaddr_in(0, inet_aton('127.0.0.1')));
$serve->('socket', AF_UNIX, pack_sockaddr_un("$folder/neighbour"));
$serve->('abstract_socket', AF_UNIX, pack_sockaddr_un("\\0$ARGV[1]"));
print 'port ', (unpack_sockaddr_in(getsockname $listeners{port}))[0], "\\n";
while (1) {
  my $ready = '';
  vec($ready, fileno $_, 1) = 1 for *STDIN, values %listeners;
  next if select($ready, undef, undef, undef) < 1;
  if (vec($ready, fileno STDIN, 1)) { unlink "/dev/shm/$canary{shared_memory}"; exit }
  for my $name (keys %listeners) {
    next if !vec($ready, fileno $listeners{$name}, 1);
    accept my $it, $listeners{$name}; syswrite $it, $canary{$name}; close $it;
  }
}`;

/** Starts the neighbour as a user; it ends with the test. */
export async function startNeighbour(folder: string, uid: number | undefined): Promise<Neighbour> {
  const abstract = `neighbour-${randomBytes(8).toString('hex')}`;
  const child = spawn('/usr/bin/perl', ['-e', PROGRAM, folder, abstract, canary('arguments')], {
    env: { SECRET: canary('environment') },
    stdio: ['pipe', 'pipe', 'inherit'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.stdin.end();
    await exited;
  });
  const kept = ['memory', 'open_file', 'shared_memory', 'port', 'socket', 'abstract_socket'];
  child.stdin.write(`${kept.map((name) => `${name}=${canary(name)}`).join(' ')}\n`);
  let said = '';
  await new Promise<void>((resolve) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('\n')) resolve();
    });
  });
  const port = Number(/^port (\d+)$/m.exec(said)?.[1]);
  const signalled = (): boolean => said.includes('signalled');
  return { pid: child.pid ?? 0, port, socket: join(folder, 'neighbour'), abstract, signalled };
}

/** Puts canaries into files of a user's home, as people have them. */
export async function plantFiles(home: string, uid: number | undefined): Promise<void> {
  for (const [path, name] of [
    ['.env', 'env_file'],
    ['.ssh/id_ed25519', 'ssh_key'],
    ['signing.pem', 'signing_key'],
  ] as const) {
    const file = join(home, path);
    await mkdir(join(file, '..'), { recursive: true });
    await writeFile(file, canary(name), { mode: 0o600 });
    if (uid !== undefined) for (const it of [file, join(file, '..')]) await chown(it, uid, uid);
  }
}

export const SWEEP = (): Promise<string> => readFile(join(import.meta.dirname, '../fixtures/canary-sweep.pl'), 'utf8');
