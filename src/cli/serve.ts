import { Command } from 'commander';
import type { CommandDeps, RunningServer } from './command-deps.ts';
import { portNumber } from './option-values.ts';
import type { Terminal } from './terminal.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export function serveCommand(deps: CommandDeps): Command {
  return new Command('serve')
    .summary('serve executions over HTTP and WebSocket until it is told to end')
    .description(
      'Serves executions over HTTP and WebSocket. SIGINT or SIGTERM lets the runs it has end and takes no more; a\n' +
        'second one ends them at once. The other commands find a server of the same data folder by themselves.',
    )
    .option('--host <host>', 'the address to listen on; else CC_HOST')
    .option('--port <port>', 'the port to listen on, 0 for any free one; else CC_PORT', portNumber)
    .addHelpText(
      'after',
      '\nSettings come from the environment; .env.example lists them.\n\nExample:\n  cc-executor serve --port 8000\n',
    )
    .action(async (options: { host?: string; port?: number }) => {
      const ending = new Ending();
      try {
        const server = await deps.openServer(options);
        for (const line of server.lines) deps.terminal.stderr.write(`${line}\n`);
        ending.ends(server, deps.terminal);
        deps.exit(await server.ended);
      } finally {
        ending.ignore();
      }
    });
}

/** The first signal ends the server in an orderly way, every further one at once. One that came early counts. */
class Ending {
  #stop: ((force: boolean) => void) | undefined;
  #asked = 0;

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
  }

  ends(server: RunningServer, { stderr }: Terminal): void {
    this.#stop = (force) => void stderr.write(`${server.stop({ force })}\n`);
    if (this.#asked > 0) this.#stop(this.#asked > 1);
  }

  ignore(): void {
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }

  readonly #onSignal = (): void => {
    this.#asked += 1;
    this.#stop?.(this.#asked > 1);
  };
}
