import { randomInt } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** Polls until the condition gives something truthy, and returns that. Fails after 10 seconds, saying what was awaited. */
export async function waitUntil<T>(what: string, condition: () => T | Promise<T>): Promise<NonNullable<T>> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const value = await condition();
    if (value) {
      return value;
    }
    if (performance.now() > deadline) {
      throw new Error(`Waited 10 seconds for: ${what}`);
    }
    await delay(5);
  }
}

/** A number of seconds for `sleep` that no other process uses: a mark that survives an empty environment. */
export function newMark(): string {
  return `${randomInt(1000, 2000)}.${randomInt(1_000_000_000)}1`;
}

/** The live processes that have the mark as one of their arguments. */
export function withArgument(mark: string): number[] {
  return allPids().filter((pid) => isAlive(pid) && textOf(pid, 'cmdline').split('\0').includes(mark));
}

/** `R`, `S`, `T` …, or `undefined` when there is no such process. */
export function stateOf(pid: number): string | undefined {
  return /^.*\) (\S)/s.exec(textOf(pid, 'stat'))?.[1];
}

/** Neither gone nor a zombie. */
export function isAlive(pid: number): boolean {
  return !['Z', 'X', undefined].includes(stateOf(pid));
}

/** Live descendants of a process, in no particular order. */
export function descendantsOf(root: number): number[] {
  const parents = new Map(allPids().map((pid) => [pid, Number(/^.*\) \S (\d+)/s.exec(textOf(pid, 'stat'))?.[1])]));
  const isBelow = (pid: number): boolean => {
    const parent = parents.get(pid);
    return parent === root || (parent !== undefined && parent !== pid && isBelow(parent));
  };
  return [...parents.keys()].filter((pid) => isBelow(pid) && isAlive(pid));
}

/** A field of `/proc/PID/status`, such as `Uid`; its blanks made one space. */
export function statusField(pid: number, name: string): string | undefined {
  return new RegExp(`^${name}:(.*)$`, 'm').exec(textOf(pid, 'status'))?.[1]?.trim().replace(/\s+/g, ' ');
}

/** The absolute path of a fake Claude program. */
export function fakeClaude(behaviour: string): string {
  const path = fileURLToPath(new URL(`../fixtures/fake-claude/${behaviour}.mjs`, import.meta.url));
  if (!existsSync(path)) {
    throw new Error(`There is no fake Claude program ${path}`);
  }
  return path;
}

/** A fresh folder under the system's temporary folder, removed by `using`/`await using`. */
export async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'cc-executor-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Empty when the process has ended meanwhile. */
function textOf(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) {
      return '';
    }
    throw error;
  }
}
