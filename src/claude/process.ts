import { finished, type Readable, type Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as delay } from 'node:timers/promises';
import { type ExitReport, type LaunchedProcess, type LaunchOptions, launch } from '../isolation/launcher.ts';
import { DEFAULT_MAX_LINE_BYTES, splitLines } from './lines.ts';

export interface ClaudeOptions extends LaunchOptions {
  /** 32 MiB when left out. */
  maxLineBytes?: number;
  /** How much of the end of stderr is kept; 16 KiB when left out. */
  stderrTailBytes?: number;
  /** Decoded text as it comes, 1 MiB in all; what follows is only counted (`droppedStderrBytes`) and kept in the tail. */
  onStderr?: (text: string) => void;
}

/** Thrown by `batches`, after the lines before the long one, when the process and all its output are done. */
export class LineTooLongError extends Error {
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    super(`Claude printed a line of more than ${maxBytes} bytes`);
    this.name = 'LineTooLongError';
    this.maxBytes = maxBytes;
  }
}

export interface ClaudeProcess
  extends Pick<LaunchedProcess, 'pid' | 'cliPid' | 'pause' | 'resume' | 'interrupt' | 'terminate' | 'kill'> {
  /**
   * The lines of stdout, one array per chunk read; at most one chunk is read ahead while the consumer is busy. It can
   * be iterated once. It ends when stdout and stderr have been read to their end. A process that has closed stdout but
   * goes on living is killed after 5 seconds: it can report nothing more. Who stops iterating early must `kill()`.
   */
  batches: AsyncIterable<string[]>;
  /** Resolves with the first output that `batches` reads, or when the process has ended. */
  spoke: Promise<void>;
  /** Writes one JSON line to stdin; resolves when it is handed over: `false` when the process no longer reads. */
  send(message: object): Promise<boolean>;
  /** Closes stdin: Claude ends its turn and exits. */
  endInput(): void;
  stderrTail(): string;
  droppedStderrBytes(): number;
  exited: Promise<ExitReport>;
}

const STDERR_TAIL_BYTES = 16 * 1024;
const STDERR_EVENT_BYTES = 1024 * 1024;
const CLOSED_OUTPUT_GRACE_MS = 5_000;
/** After the launcher was killed, a process that no sweep can see may hold our pipes for ever. */
const ORPHANED_PIPE_GRACE_MS = 2_000;

/** Starts a Claude program as a supervised subprocess. A failed start is a value in `exited`. */
export function startClaude(options: ClaudeOptions): ClaudeProcess {
  const {
    maxLineBytes = DEFAULT_MAX_LINE_BYTES,
    stderrTailBytes = STDERR_TAIL_BYTES,
    onStderr,
    ...launchOptions
  } = options;
  const process = launch(launchOptions);
  const stderr = watchStderr(process.stderr, { tailBytes: stderrTailBytes, onText: onStderr });
  void releaseOrphanedPipes(process);
  const spoke = Promise.withResolvers<void>();
  void process.exited.then(() => spoke.resolve());
  return {
    pid: process.pid,
    cliPid: process.cliPid,
    batches: readBatches(process, { maxLineBytes, stderrEnded: stderr.ended, onChunk: spoke.resolve }),
    spoke: spoke.promise,
    send: (message) => send(process.stdin, message),
    endInput: () => process.stdin.end(),
    stderrTail: stderr.tail,
    droppedStderrBytes: stderr.dropped,
    pause: process.pause,
    resume: process.resume,
    interrupt: process.interrupt,
    terminate: process.terminate,
    kill: process.kill,
    exited: process.exited,
  };
}

async function* readBatches(
  process: LaunchedProcess,
  options: { maxLineBytes: number; stderrEnded: Promise<void>; onChunk: () => void },
): AsyncGenerator<string[], void, void> {
  const splitter = splitLines(options.maxLineBytes);
  for await (const chunk of chunksOf(process.stdout)) {
    options.onChunk();
    const lines = splitter.push(chunk);
    if (splitter.lineTooLong) {
      process.kill();
    }
    if (lines.length > 0) {
      yield lines;
    }
  }
  const rest = splitter.end();
  if (rest.length > 0) {
    yield rest;
  }
  await killUnlessExited(process);
  await options.stderrEnded;
  if (splitter.lineTooLong) {
    throw new LineTooLongError(options.maxLineBytes);
  }
}

/** Like iterating the stream, but a stream destroyed from outside simply ends. */
async function* chunksOf(stream: Readable): AsyncGenerator<Buffer, void, void> {
  try {
    yield* stream.iterator({ destroyOnReturn: false });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE')) {
      throw error;
    }
  }
}

async function killUnlessExited(process: LaunchedProcess): Promise<void> {
  const timer = setTimeout(process.kill, CLOSED_OUTPUT_GRACE_MS);
  await process.exited;
  clearTimeout(timer);
}

async function releaseOrphanedPipes(process: LaunchedProcess): Promise<void> {
  const { failure, left } = await process.exited;
  if (failure !== null || left > 0) {
    await delay(ORPHANED_PIPE_GRACE_MS, undefined, { ref: false });
    process.stdout.destroy();
    process.stderr.destroy();
  }
}

function send(stdin: Writable, message: object): Promise<boolean> {
  if (!stdin.writable) {
    return Promise.resolve(false);
  }
  return new Promise((resolve) => {
    stdin.write(`${JSON.stringify(message)}\n`, (error) => resolve(error === null || error === undefined));
  });
}

interface StderrWatch {
  ended: Promise<void>;
  tail(): string;
  dropped(): number;
}

/** Reads stderr whether anyone listens or not, so that a chatty process never blocks on it. */
function watchStderr(
  stream: Readable,
  options: { tailBytes: number; onText: ((text: string) => void) | undefined },
): StderrWatch {
  const decoder = new StringDecoder('utf8');
  let budget = STDERR_EVENT_BYTES;
  let dropped = 0;
  let tail = Buffer.alloc(0);
  const tell = (text: string): void => {
    if (text !== '') {
      options.onText?.(text);
    }
  };
  stream.on('data', (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-options.tailBytes);
    const taken = chunk.subarray(0, budget);
    budget -= taken.length;
    dropped += chunk.length - taken.length;
    tell(decoder.write(taken));
  });
  const ended = new Promise<void>((resolve) => {
    finished(stream, () => {
      tell(decoder.end());
      resolve();
    });
  });
  return { ended, tail: () => withoutCutCharacter(tail).toString('utf8'), dropped: () => dropped };
}

/** Drops the continuation bytes (10xxxxxx) of a character whose start was cut off. */
function withoutCutCharacter(bytes: Buffer): Buffer {
  let start = 0;
  while (start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) {
    start += 1;
  }
  return bytes.subarray(start);
}
