import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Box, enclose } from './box.ts';
import type { LaunchFailure } from './launch-failure.ts';
import { launch } from './launcher.ts';
import type { Identity } from './launcher-arguments.ts';
import { type Planted, plant } from './planted.ts';
import { PERL, SWEEP_PATH } from './system-paths.ts';

/** A sweep takes some 50 ms; one that hangs is no proof. */
const SWEEP_LIMIT_MS = 5_000;
const MOST_OUTPUT = 64 * 1024;

/** What a sweep inside a box came to. */
export interface Sweep {
  /** What it got hold of that is not its own. */
  leaks: string[];
  /** Why a run could not work in there; undefined when it could. */
  broken: string | undefined;
}

/**
 * Runs the sweep in each box, one after the other, and asks `enough` after each. The secrets are planted once, below
 * `parent`, as the user of runs.
 */
export async function sweepBoxes(
  boxes: readonly Box[],
  place: { parent: string; identity: Identity | undefined },
  enough: (box: Box, sweep: Sweep) => boolean,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const planted = await plant(stack, place);
  for (const box of boxes) {
    if (enough(box, await sweepIn(box, planted, place.identity))) return;
  }
}

async function sweepIn(box: Box, planted: Planted, identity: Identity | undefined): Promise<Sweep> {
  const { file, port, socket, abstractName, pid, outside, workspace, home, gateway } = planted;
  const bySocket = box.level === 'L3';
  const inside = bySocket ? 'unix:/run/gateway/s' : `tcp:${gateway.port}`;
  const { command, box: kind } = enclose(
    box,
    {
      readable: [SWEEP_PATH],
      writable: [home, workspace],
      home,
      gateway: bySocket ? { socket: gateway.socket } : { port: gateway.port },
    },
    {
      file: PERL,
      args: [SWEEP_PATH, file, String(port), socket, abstractName, String(pid), outside, workspace, inside],
      env: { PATH: '/usr/bin:/bin' },
      cwd: workspace,
    },
  );
  const run = launch({ command, ...(kind && { box: kind }), ...(identity && { identity }) });
  const timer = setTimeout(run.kill, SWEEP_LIMIT_MS);
  const signalsBefore = await planted.signals();
  let [said, complained] = ['', ''];
  run.stdout.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(0, MOST_OUTPUT)));
  run.stderr.setEncoding('utf8').on('data', (text: string) => (complained = (complained + text).slice(-1000)));
  const { failure } = await run.exited;
  clearTimeout(timer);
  const leaks = leaksOf(said, planted);
  if ((await planted.signals()) > signalsBefore) leaks.push('signal');
  return {
    leaks,
    broken: failure === null ? whyBroken(said, complained, gateway.answer) : whyNotMade(failure, complained),
  };
}

function whyBroken(said: string, complained: string, answer: string): string | undefined {
  const got = linesOf(said);
  if (!got.some(([name]) => name === 'end')) {
    return complained === '' ? `the probe took longer than ${SWEEP_LIMIT_MS} ms` : `the probe broke off: ${complained}`;
  }
  if (!got.some(([name, text]) => name === 'gateway' && text === answer)) return 'the model gateway cannot be reached';
  return got.some(([name]) => name === 'workspace') ? undefined : 'the workspace cannot be written';
}

/** bubblewrap says on stderr what it could not do; where it points to is for its packagers. */
function whyNotMade({ reason, message }: LaunchFailure, complained: string): string {
  const said = complained.trim().replace(/ See <.*/s, '');
  return reason === 'box_failed' && said !== '' ? said : message;
}

/** What was found, and what was done outside; the latter is undone for the next sweep. */
function leaksOf(said: string, planted: Planted): string[] {
  const found = linesOf(said).filter(([name, text]) =>
    Object.entries(planted.secrets).some(([secret, value]) => secret === name && text === value),
  );
  const written = join(planted.outside, 'written');
  const wrote = existsSync(written) ? ['write'] : [];
  rmSync(written, { force: true });
  return [...new Set([...found.map(([name]) => name), ...wrote])];
}

function linesOf(said: string): [name: string, text: string][] {
  return said.split('\n').map((line) => {
    const [, name = '', text = ''] = /^(abstract socket|\S+) (.*)$/.exec(line) ?? [];
    return [name, text];
  });
}
