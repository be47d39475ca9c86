import { EXIT } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

/**
 * Notes that stdout takes no more, instead of the crash that an unheard stream error is. A reader that left (`| head`)
 * has what it wanted; a full disk is a failure. A broken stderr leaves nobody to tell.
 */
export class OutputGuard {
  readonly #terminal: Terminal;
  #failure: NodeJS.ErrnoException | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    terminal.stdout.on('error', (error) => {
      this.#failure ??= error;
    });
    terminal.stderr.on('error', () => {});
  }

  /** The exit code when the command would have ended with `code`. */
  codeAfter(code: number): number {
    if (this.#failure === undefined || this.#failure.code === 'EPIPE') return code;
    this.#terminal.stderr.write(`What was to be printed could not be written: ${this.#failure.message}\n`);
    return code === EXIT.succeeded ? EXIT.failed : code;
  }
}
