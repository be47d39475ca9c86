import { fstatSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { ServiceError } from '../protocol/errors.ts';
import { MAX_PROMPT_BYTES } from '../protocol/execution-request.ts';
import type { Terminal } from './terminal.ts';

/** How long an inherited pipe may stay silent beside a prompt that was given as an argument. */
const IDLE_PIPE_MS = 3_000;

/** A file a person named; what is wrong with it is said in one line. */
export async function readNamedFile(path: string, option: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ServiceError(
      'invalid_request',
      `${option} ${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

/**
 * The prompt: the argument, a file, or stdin (`-`, or no argument). Text piped in beside an argument is put before it
 * as `claude -p` does, joined by a newline.
 */
export async function readPrompt(
  terminal: Terminal,
  given: { argument: string | undefined; file: string | undefined },
): Promise<string> {
  const { argument, file } = given;
  if (file !== undefined) return readNamedFile(file, '--prompt-file');
  if (argument !== undefined && argument !== '-') {
    const piped = stdinHoldsText() ? await readStdin(terminal, IDLE_PIPE_MS) : '';
    return piped === '' ? argument : `${piped}\n${argument}`;
  }
  if (argument === undefined && terminal.stdin.isTTY) {
    throw new ServiceError(
      'invalid_request',
      'There is no prompt; give one as an argument, with --prompt-file, or on stdin',
    );
  }
  return readStdin(terminal, undefined);
}

function stdinHoldsText(): boolean {
  const found = fstatSync(0, { throwIfNoEntry: false });
  return found !== undefined && (found.isFIFO() || found.isFile() || found.isSocket());
}

/** Reads stdin to its end; at most one byte more than a prompt may have, which is then refused as too long. */
async function readStdin({ stdin }: Terminal, idleMs: number | undefined): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  const idle = idleMs === undefined ? undefined : setTimeout(() => stdin.destroy(), idleMs);
  try {
    for await (const chunk of stdin) {
      clearTimeout(idle);
      chunks.push(Buffer.from(chunk));
      size += chunk.length;
      if (size > MAX_PROMPT_BYTES) break;
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE')) throw error;
  } finally {
    clearTimeout(idle);
  }
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}
