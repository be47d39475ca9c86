import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { finished, Readable, Writable } from 'node:stream';
import { failureReported, failureToSpawn, LaunchError, type LaunchFailure } from './launch-failure.ts';
import { type BoxKind, DEFAULT_LIMITS, type Identity, type Limits, launcherArguments } from './launcher-arguments.ts';
import { type LauncherStatus, parseStatus, signalName } from './launcher-status.ts';
import { RUN_MARKER, sweepMarked } from './marker-sweep.ts';
import { type SpareLauncher, startMessage } from './spare-launcher.ts';

/** What to run: an absolute path, arguments as they are (never a shell), and the whole environment: nothing is added. */
export interface LaunchCommand {
  file: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
}

export interface LaunchOptions {
  command: LaunchCommand;
  identity?: Identity;
  /** Added to, and in place of, `DEFAULT_LIMITS`. */
  limits?: Partial<Limits>;
  /** Set when the command makes a box, and runs the real one inside; see `enclose`. */
  box?: BoxKind;
  /** The Perl interpreter; `/usr/bin/perl` when left out. */
  perl?: string;
  /** Where a launcher may wait already. */
  spare?: SpareLauncher;
}

/** How the command ended. One of `exitCode`, `signal` and `failure` is set, unless it could not be killed. */
export interface ExitReport {
  exitCode: number | null;
  signal: string | null;
  failure: LaunchFailure | null;
  /** Processes beside the command that had to be killed. */
  swept: number;
  /** Processes that were still there 5 seconds after SIGKILL (uninterruptible sleep); 0 is the rule. */
  left: number;
}

export interface LaunchedProcess {
  /** The launcher's pid; `undefined` when it could not be started. */
  pid: number | undefined;
  /** Rejects with `LaunchError` when the command could not be started. */
  cliPid: Promise<number>;
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
  /** Stops the whole family; `false` when it has ended. Rejects when the launcher does not answer within 5 seconds. */
  pause(): Promise<boolean>;
  resume(): Promise<boolean>;
  /** SIGINT to the command alone. */
  interrupt(): void;
  /** SIGTERM to the command alone, after which the family is resumed so that a paused one gets it. */
  terminate(): void;
  /** Kills the whole family at once; a launcher that has not done so after 8 seconds is killed itself. */
  kill(): void;
  /** Resolves when the command, its whole family and the launcher are gone. Never rejects. */
  exited: Promise<ExitReport>;
}

const ANSWER_LIMIT_MS = 5_000;
/** Longer than the launcher's own limits for stopping (2 s) and killing (5 s) its family. */
const KILL_LIMIT_MS = 8_000;
/** These steer the launcher's own loader and interpreter, which may run as root. */
const STEERING_ENV = /^(PERL|LD_|DYLD_)/;

/**
 * Starts a command below the launcher. When the launcher itself is killed, the processes that carry `CC_RUN_ID` as
 * in `command.env` are swept before `exited` resolves; without that variable there is no such net.
 * @throws Error when the environment would steer the launcher, or text holds a NUL: defects of the caller
 */
export function launch(options: LaunchOptions): LaunchedProcess {
  const { command, perl = '/usr/bin/perl' } = options;
  const { env, cwd } = command;
  const steering = Object.keys(env).find((name) => STEERING_ENV.test(name));
  if (steering !== undefined) {
    throw new Error(`${steering} steers the launcher and may not be in the environment of a run`);
  }
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const argv = launcherArguments({
    parentPid: process.pid,
    identity: options.identity,
    limits,
    box: options.box,
    command,
  });
  const waiting = options.spare?.take();
  if (waiting !== undefined) {
    const [, ...told] = argv;
    const launched = supervise(waiting, env[RUN_MARKER]);
    writable(waiting, 4).write(startMessage(told, command));
    return launched;
  }
  const child = spawnDetached(perl, argv, { env, cwd });
  if (child instanceof Error) {
    return notStarted(failureToSpawn(child, { perl, cwd }));
  }
  if (child.pid === undefined) {
    return notStarted(once(child, 'error').then(([error]) => failureToSpawn(error, { perl, cwd })));
  }
  return supervise(child, env[RUN_MARKER]);
}

/** Detached: a terminal's Ctrl-C reaches neither the launcher nor the run. `spawn` throws some errnos, such as E2BIG. */
function spawnDetached(
  file: string,
  args: string[],
  options: { env: Readonly<Record<string, string>>; cwd: string },
): ChildProcess | Error {
  try {
    return spawn(file, args, { ...options, detached: true, stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'] });
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) {
      return error;
    }
    throw error;
  }
}

function notStarted(failure: Promise<LaunchFailure>): LaunchedProcess {
  const stdin = new Writable();
  stdin.destroy();
  return {
    pid: undefined,
    cliPid: handled(failure.then((reason) => Promise.reject(new LaunchError(reason)))),
    stdin,
    stdout: Readable.from([]),
    stderr: Readable.from([]),
    pause: () => Promise.resolve(false),
    resume: () => Promise.resolve(false),
    interrupt: () => {},
    terminate: () => {},
    kill: () => {},
    exited: failure.then(failed),
  };
}

function supervise(child: ChildProcess, runId: string | undefined): LaunchedProcess {
  holdOpen(child);
  const [stdin, control] = [writable(child, 0), writable(child, 4)];
  const [stdout, stderr, status] = [readable(child, 1), readable(child, 2), readable(child, 3)];
  // A broken pipe is no news: `exited` and the callbacks of writes tell it.
  for (const stream of [stdin, stdout, stderr, status, control]) {
    stream.on('error', () => {});
  }
  const started = Promise.withResolvers<number>();
  const answers: Record<'paused' | 'resumed', ((answered: boolean) => void)[]> = { paused: [], resumed: [] };
  let last: LauncherStatus | undefined;
  let killTimer: NodeJS.Timeout | undefined;

  const lastLine = readLines(status, (line) => {
    const event = parseStatus(line);
    if (event?.event === 'started') {
      started.resolve(event.pid);
    } else if (event?.event === 'paused' || event?.event === 'resumed') {
      answers[event.event].shift()?.(true);
    } else if (event !== undefined) {
      last = event;
    }
  });
  const tell = (word: string): void => {
    if (control.writable) {
      control.write(`${word}\n`);
    }
  };
  const ask = (word: 'pause' | 'resume'): Promise<boolean> => {
    const ended = child.exitCode !== null || child.signalCode !== null;
    return ended ? Promise.resolve(false) : answer(answers[`${word}d` as const], () => tell(word));
  };
  const exited = (async (): Promise<ExitReport> => {
    await Promise.all([once(child, 'exit'), lastLine]);
    clearTimeout(killTimer);
    control.destroy();
    const report = await reportOf(last, child, runId);
    started.reject(new LaunchError(report.failure ?? { reason: 'other', message: 'It ended before it was started' }));
    for (const resolve of [...answers.paused.splice(0), ...answers.resumed.splice(0)]) {
      resolve(false);
    }
    return report;
  })();

  return {
    pid: child.pid,
    cliPid: handled(started.promise),
    stdin,
    stdout,
    stderr,
    pause: () => ask('pause'),
    resume: () => ask('resume'),
    interrupt: () => tell('interrupt'),
    terminate: () => tell('terminate'),
    kill: () => {
      if (control.destroyed) {
        return;
      }
      tell('kill');
      killTimer ??= setTimeout(() => child.kill('SIGKILL'), KILL_LIMIT_MS);
    },
    exited,
  };
}

/** A launcher that waited did not keep this process alive; one with a run does. */
function holdOpen(child: ChildProcess): void {
  child.ref();
  for (const stream of child.stdio) {
    if (stream != null && 'ref' in stream && typeof stream.ref === 'function') stream.ref();
  }
}

/** Marks a rejection as seen: whoever does not ask for the pid reads the same failure in `exited`. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Resolves at the end of the stream, however it ends. */
function readLines(stream: Readable, onLine: (line: string) => void): Promise<void> {
  let rest = '';
  stream.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(onLine);
  });
  return new Promise((resolve) => {
    finished(stream, () => resolve());
  });
}

async function answer(waiting: ((answered: boolean) => void)[], send: () => void): Promise<boolean> {
  const answered = Promise.withResolvers<boolean>();
  const error = new Error(`The launcher did not answer within ${ANSWER_LIMIT_MS} ms`);
  const timer = setTimeout(() => answered.reject(error), ANSWER_LIMIT_MS);
  waiting.push(answered.resolve);
  send();
  try {
    return await answered.promise;
  } finally {
    clearTimeout(timer);
  }
}

async function reportOf(
  last: LauncherStatus | undefined,
  child: ChildProcess,
  runId: string | undefined,
): Promise<ExitReport> {
  if (last?.event === 'failed') {
    return failed(failureReported(last));
  }
  const sweep = async (): Promise<number> =>
    runId === undefined ? 0 : await sweepMarked({ name: RUN_MARKER, value: runId });
  if (last?.event === 'exited') {
    const swept = last.swept + (last.left > 0 ? await sweep() : 0);
    const signal = last.signal === null ? null : signalName(last.signal);
    return { exitCode: last.code, signal, failure: null, swept, left: last.left };
  }
  const message = `The launcher was ended from outside (${child.signalCode ?? `exit ${child.exitCode}`})`;
  return { ...failed({ reason: 'launcher_died', message }), swept: await sweep() };
}

function failed(failure: LaunchFailure): ExitReport {
  return { exitCode: null, signal: null, failure, swept: 0, left: 0 };
}

function readable(child: ChildProcess, fd: number): Readable {
  const stream = child.stdio[fd];
  if (stream instanceof Readable) {
    return stream;
  }
  throw new Error(`fd ${fd} of the launcher cannot be read`);
}

function writable(child: ChildProcess, fd: number): Writable {
  const stream = child.stdio[fd];
  if (stream instanceof Writable) {
    return stream;
  }
  throw new Error(`fd ${fd} of the launcher cannot be written`);
}
