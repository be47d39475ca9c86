// promise: P4

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type LaunchedProcess, launch } from '../../src/isolation/launcher.ts';
import { findMarked, RUN_MARKER, sweepMarked } from '../../src/isolation/marker-sweep.ts';
import { isAlive, newMark, waitUntil, withArgument } from '../support/processes.ts';

let mark: string;
let launched: LaunchedProcess | undefined;

/** Five ways to get away: plain child, setsid, nohup, double fork, setsid with an empty environment. */
function escapes(seconds: string): string {
  const sleep = `/bin/sleep ${seconds}`;
  return `${sleep} & setsid ${sleep} & nohup ${sleep} >/dev/null & (${sleep} &) & setsid env -i ${sleep} & `;
}

/** Starts a shell that makes five such children and then runs the script. */
async function startFamily(script: string, env: Record<string, string> = {}): Promise<LaunchedProcess> {
  const args = ['-c', `${escapes(mark)} ${script}`];
  launched = launch({ command: { file: '/bin/sh', args, env: { PATH: process.env.PATH ?? '', ...env }, cwd: '/' } });
  await waitUntil('the whole family', () => withArgument(mark).length === 5);
  return launched;
}

beforeEach(() => {
  mark = newMark();
});

afterEach(async () => {
  launched?.kill();
  await launched?.exited;
  launched = undefined;
  for (const pid of withArgument(mark)) {
    process.kill(pid, 'SIGKILL');
  }
});

describe('nothing of a run is left', () => {
  test('after the command has ended by itself', async () => {
    const run = await startFamily('read line; exit 4');
    run.stdin.end('\n');
    const report = await run.exited;
    expect(withArgument(mark)).toEqual([]);
    expect(report).toEqual({ exitCode: 4, signal: null, failure: null, swept: 5, left: 0 });
  });

  test('after kill', async () => {
    const run = await startFamily('wait');
    run.kill();
    const report = await run.exited;
    expect(withArgument(mark)).toEqual([]);
    expect(report).toEqual({ exitCode: null, signal: 'SIGKILL', failure: null, swept: 5, left: 0 });
  });

  test('after terminate, when the command obeys it', async () => {
    const run = await startFamily('trap "exit 3" TERM; wait');
    run.terminate();
    const report = await run.exited;
    expect(withArgument(mark)).toEqual([]);
    expect(report.exitCode ?? report.signal).toSatisfy((end) => end === 3 || end === 'SIGTERM');
  });

  test('after kill -9 of the command', async () => {
    const run = await startFamily('wait');
    process.kill(await run.cliPid, 'SIGKILL');
    const report = await run.exited;
    expect(withArgument(mark)).toEqual([]);
    expect(report).toEqual({ exitCode: null, signal: 'SIGKILL', failure: null, swept: 5, left: 0 });
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'after %s to the launcher, though the command ignores SIGTERM',
    async (signal) => {
      const run = await startFamily('trap "" TERM; while :; do sleep 1; done');
      process.kill(run.pid ?? 0, signal);
      const report = await run.exited;
      expect(withArgument(mark)).toEqual([]);
      expect(report).toMatchObject({ exitCode: null, signal: 'SIGKILL', failure: null, left: 0 });
    },
  );

  test('after kill of a paused run', async () => {
    const run = await startFamily('wait');
    expect(await run.pause()).toBe(true);
    run.kill();
    await run.exited;
    expect(withArgument(mark)).toEqual([]);
  });

  // A child without the marker that has its own session is out of reach of both nets: only the other four are counted.
  test('after kill -9 of the launcher, except for a child with an empty environment', async () => {
    const id = `run-${mark}`;
    const run = await startFamily('wait', { [RUN_MARKER]: id });
    process.kill(run.pid ?? 0, 'SIGKILL');
    const report = await run.exited;
    expect(report.failure).toEqual({
      reason: 'launcher_died',
      message: 'The launcher was ended from outside (SIGKILL)',
    });
    expect(report.swept).toBeGreaterThanOrEqual(4);
    expect(await findMarked({ name: RUN_MARKER, value: id })).toEqual([]);
    await waitUntil('only the hidden child is left', () => withArgument(mark).length === 1);
  });

  test('after kill, though the launcher itself was stopped', async () => {
    const run = await startFamily('wait', { [RUN_MARKER]: `run-${mark}` });
    process.kill(run.pid ?? 0, 'SIGSTOP');
    run.kill();
    expect((await run.exited).failure?.reason).toBe('launcher_died');
    await waitUntil('only the hidden child is left', () => withArgument(mark).length === 1);
  });

  test('after kill -9 of the service', async () => {
    const module = JSON.stringify(new URL('../../src/isolation/launcher.ts', import.meta.url).href);
    const args = JSON.stringify(['-c', `${escapes(mark)} trap "" TERM; while :; do sleep 1; done`]);
    const env = JSON.stringify({ PATH: process.env.PATH });
    const script = `import { launch } from ${module};
      const run = launch({ command: { file: '/bin/sh', args: ${args}, env: ${env}, cwd: '/' } });
      console.log(run.pid, await run.cliPid);`;
    const service = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [output] = await once(service.stdout, 'data');
    const [launcherPid = 0, cliPid = 0] = String(output).trim().split(' ').map(Number);
    await waitUntil('the whole family', () => withArgument(mark).length === 5);
    expect([isAlive(launcherPid), isAlive(cliPid)]).toEqual([true, true]);
    service.kill('SIGKILL');
    await waitUntil('the end of the launcher', () => !isAlive(launcherPid));
    expect([isAlive(cliPid), withArgument(mark)]).toEqual([false, []]);
  });
});

describe('sweepMarked', () => {
  test('kills every process with exactly this entry in its environment, and no other', async () => {
    const marker = { name: RUN_MARKER, value: mark };
    const env = { PATH: process.env.PATH ?? '' };
    const start = (more: Record<string, string>) =>
      spawn('/bin/sh', ['-c', `sleep ${mark} & sleep ${mark} & wait`], { env: { ...env, ...more }, stdio: 'ignore' });
    const marked = start({ [RUN_MARKER]: mark });
    const others = [start({ [RUN_MARKER]: `${mark}0` }), start({ [`X${RUN_MARKER}`]: mark })];
    await waitUntil('nine processes', () => withArgument(mark).length === 6);
    expect((await findMarked(marker)).length).toBe(3);
    expect(await sweepMarked(marker)).toBe(3);
    expect(await findMarked(marker)).toEqual([]);
    expect(withArgument(mark).length).toBe(4);
    expect([isAlive(marked.pid ?? 0), ...others.map((other) => isAlive(other.pid ?? 0))]).toEqual([false, true, true]);
  });

  test('finds nothing where nothing is marked', async () => {
    expect(await sweepMarked({ name: RUN_MARKER, value: 'no such run' })).toBe(0);
  });
});
