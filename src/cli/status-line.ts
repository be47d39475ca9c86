import { dollars, duration, firstLine, type Terminal } from './terminal.ts';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const REDRAW_MS = 100;

/** What the line shows. */
export interface Progress {
  startedAt: number;
  tokens: number;
  costUsd: number | undefined;
  activity: string;
}

/** One live line on a terminal's stderr, when it is wanted. It is only drawn at the start of a line. */
export class StatusLine {
  readonly #terminal: Terminal;
  readonly #progress: Progress;
  #timer: NodeJS.Timeout | undefined;
  #frame = 0;
  #drawn = false;
  #atLineStart = true;

  constructor(terminal: Terminal, progress: Progress, wanted: boolean) {
    this.#terminal = terminal;
    this.#progress = progress;
    if (wanted && terminal.stderr.isTTY) this.#timer = setInterval(() => this.#draw(), REDRAW_MS).unref();
  }

  /** Takes the line away before other output; `text` tells where that leaves the cursor of the terminal. */
  makeWayFor(text: string, stream: NodeJS.WriteStream = this.#terminal.stderr): void {
    this.#clear();
    if (text !== '' && stream.isTTY) this.#atLineStart = text.endsWith('\n');
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#clear();
  }

  #draw(): void {
    if (!this.#atLineStart) return;
    const { startedAt, tokens, costUsd, activity } = this.#progress;
    this.#frame = (this.#frame + 1) % FRAMES.length;
    const parts = [
      duration(performance.now() - startedAt),
      ...(tokens > 0 ? [`${tokens.toLocaleString('en')} tokens`] : []),
      ...(costUsd === undefined ? [] : [dollars(costUsd)]),
      activity,
    ];
    // A terminal may say it has no columns at all.
    const width = (this.#terminal.stderr.columns || 80) - 1;
    this.#terminal.stderr.write(`\r\u001b[2K${firstLine(`${FRAMES[this.#frame]} ${parts.join(' · ')}`, width)}`);
    this.#drawn = true;
  }

  #clear(): void {
    if (this.#drawn) this.#terminal.stderr.write('\r\u001b[2K');
    this.#drawn = false;
  }
}
