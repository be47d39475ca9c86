import { execFileSync } from 'node:child_process';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A stdin that stays open for the whole test, and what is needed to put it before a program. */
export interface HeldPipe {
  write: FileHandle['write'];
  /** For `wrap` of a start: the command with this pipe as its stdin. */
  asStdin(command: string[]): string[];
}

export async function heldPipe(folder: string): Promise<HeldPipe> {
  const path = join(folder, 'stdin.fifo');
  execFileSync('sh', ['-c', 'mkfifo "$0"', path]);
  // Open for both: neither side waits for the other, and a reader sees no end.
  const handle = await open(path, 'r+');
  onTestFinished(() => handle.close());
  return {
    write: handle.write.bind(handle),
    asStdin: (command) => ['sh', '-c', `exec "$0" "$@" < '${path}'`, ...command],
  };
}
