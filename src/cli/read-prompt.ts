import { isUtf8 } from 'node:buffer';
import { createReadStream, fstatSync } from 'node:fs';
import { ServiceError } from '../protocol/errors.ts';
import { MAX_PROMPT_BYTES } from '../protocol/execution-request.ts';
import type { Terminal } from './terminal.ts';

/** How long an inherited pipe may stay silent beside a prompt that was given as an argument. */
const IDLE_PIPE_MS = 3_000;

/**
 * A text file a person named, at most as long as a prompt may be; `-` is no file here.
 * @throws ServiceError `invalid_request` when it cannot be read, is longer, or is not UTF-8
 */
export async function readNamedFile(path: string, option: string): Promise<string> {
  try {
    return text(await upToLimit(createReadStream(path)), `${option} ${path}`);
  } catch (cause) {
    if (cause instanceof ServiceError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ServiceError('invalid_request', `${option} ${path} cannot be read: ${why}`, { cause });
  }
}

/**
 * The prompt: the argument, a file, or stdin (`-`, or no argument). Text piped in beside an argument is put before it
 * as `claude -p` does, joined by a newline. One newline at the end of stdin is not part of the prompt.
 * @throws ServiceError `invalid_request`
 */
export async function readPrompt(
  terminal: Terminal,
  given: { argument: string | undefined; file: string | undefined },
): Promise<string> {
  const { argument, file } = given;
  if (file !== undefined && argument !== undefined) {
    throw new ServiceError('invalid_request', 'There are two prompts: leave out the argument or --prompt-file');
  }
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

/** Reads stdin to its end; a pipe that stays silent for `idleMs` counts as empty. */
async function readStdin({ stdin }: Terminal, idleMs: number | undefined): Promise<string> {
  const idle = idleMs === undefined ? undefined : setTimeout(() => stdin.destroy(), idleMs);
  try {
    return text(await upToLimit(stdin, () => clearTimeout(idle)), 'stdin').replace(/\r?\n$/, '');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE')) throw error;
    return '';
  } finally {
    clearTimeout(idle);
  }
}

/** At most the first chunk past the limit is read of what never ends. */
async function upToLimit(stream: AsyncIterable<Buffer>, onChunk: () => void = () => {}): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    onChunk();
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_PROMPT_BYTES) break;
  }
  return Buffer.concat(chunks);
}

/** Decodes without replacing anything: what is not text is refused, not sent in another form. */
function text(bytes: Buffer, source: string): string {
  if (bytes.length > MAX_PROMPT_BYTES) {
    throw new ServiceError('invalid_request', `${source} is too long; at most ${MAX_PROMPT_BYTES} bytes are taken`);
  }
  if (!isUtf8(bytes)) {
    throw new ServiceError('invalid_request', `${source} is not valid UTF-8 text; is it binary data?`);
  }
  return bytes.toString('utf8');
}
