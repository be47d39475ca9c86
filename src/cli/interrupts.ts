import type { ExecutorClient } from '../client/executor-client.ts';
import { EXIT } from './exit-codes.ts';
import type { Renderer } from './render.ts';
import type { Terminal } from './terminal.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * What ends a run from outside: a person's Ctrl-C, once to cancel and twice to leave, and a stdout that takes no more,
 * because the run is bound to this process.
 */
export class Interrupts {
  leaving = false;
  readonly #client: ExecutorClient;
  readonly #renderer: Renderer;
  #id: string | undefined;
  #state: 'none' | 'cancelling' = 'none';

  constructor(client: ExecutorClient, renderer: Renderer) {
    this.#client = client;
    this.#renderer = renderer;
  }

  listen({ stdout }: Terminal): void {
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    stdout.on('error', this.#onBrokenOutput);
  }

  ignore({ stdout }: Terminal): void {
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
    stdout.off('error', this.#onBrokenOutput);
  }

  /** Which execution is cancelled; an interrupt that came before counts. */
  cancels(id: string): void {
    this.#id = id;
    if (this.#state === 'cancelling') this.#cancel();
  }

  #cancel(): void {
    this.#state = 'cancelling';
    if (this.#id === undefined) return;
    this.#client.cancel(this.#id).catch((error: unknown) => {
      this.#renderer.note('red', `it could not be cancelled: ${error instanceof Error ? error.message : error}`);
    });
  }

  readonly #onSignal = (): void => {
    if (this.#state === 'none') {
      this.#renderer.note('yellow', 'cancelling; once more to leave at once');
      this.#cancel();
      return;
    }
    if (this.leaving) process.exit(EXIT.cancelled);
    this.leaving = true;
    void this.#client.close({ force: true }).finally(() => process.exit(EXIT.cancelled));
  };

  readonly #onBrokenOutput = ({ code }: NodeJS.ErrnoException): void => {
    if (this.#state === 'cancelling') return;
    if (code !== 'EPIPE') this.#renderer.note('red', `cancelling: stdout takes no more (${code})`);
    this.#cancel();
  };
}
