import { Command } from 'commander';
import type { EventsOptions, ExecutorClient } from '../client/executor-client.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { StoredEvent } from '../protocol/events.ts';
import type { CommandDeps } from './command-deps.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { findExecution } from './find-execution.ts';
import type { ServerOptions } from './find-server.ts';
import { connectionLost, drained, show } from './follow.ts';
import { keyOption, openService, urlOption } from './open-service.ts';
import { wholeNumber } from './option-values.ts';
import { Renderer } from './render.ts';
import { summary } from './summary.ts';

interface WatchOptions extends ServerOptions {
  after?: number;
  json?: boolean;
}

export function watchCommand(deps: CommandDeps): Command {
  return new Command('watch')
    .summary('show the log of an execution, and follow it while it runs')
    .description(
      'Shows the log of an execution from its start, and follows it to its end, with the exit code of its outcome.\n' +
        'Ctrl-C leaves with exit code 0; the run goes on.',
    )
    .argument('<id>', 'its id, the first 8 characters or more of it, or last')
    .option('--after <seq>', 'only events after this one', wholeNumber)
    .option('--json', 'print the events as NDJSON')
    .addOption(urlOption())
    .addOption(keyOption())
    .addHelpText('after', '\nExample:\n  cc-executor watch last\n')
    .action(async (wanted: string, { after, json = false, ...where }: WatchOptions) => {
      const { terminal } = deps;
      const { client, pasted } = await openService(deps, where, undefined);
      const leaving = new AbortController();
      const leave = (): void => leaving.abort();
      process.once('SIGINT', leave).once('SIGTERM', leave).once('SIGHUP', leave);
      terminal.stdout.once('error', leave);
      const renderer = new Renderer(terminal, { textTo: terminal.stdout, statusLine: !json });
      try {
        const { id } = await findExecution(client, wanted);
        const { signal } = leaving;
        const onCut = (firstSeq: number): void =>
          renderer.note('yellow', `the log before event ${firstSeq} is no longer kept`);
        for await (const batch of eventsOf(client, {
          id,
          after,
          signal,
          onCut,
          onReconnect: connectionLost(renderer),
        })) {
          show(batch, { terminal, renderer, json, quiet: false });
          await drained(terminal.stdout);
        }
        const execution = await client.get(id);
        renderer.stop();
        if (!json) terminal.stderr.write(summary(deps, execution, pasted));
        deps.exit(execution.state === 'finished' ? exitCodeOf(execution) : EXIT.succeeded);
      } finally {
        renderer.stop();
        await client.close({ force: false });
      }
    });
}

/** From the cursor that was asked for, or else from the first event that is still kept. */
async function* eventsOf(
  client: ExecutorClient,
  options: Omit<EventsOptions, 'after'> & { id: string; after: number | undefined; onCut(firstSeq: number): void },
): AsyncGenerator<readonly StoredEvent[], void, undefined> {
  const { id, after, onCut, ...reading } = options;
  try {
    yield* client.events(id, { ...reading, after: after ?? 0 });
  } catch (error) {
    const firstSeq = error instanceof ServiceError ? error.data.firstSeq : undefined;
    if (after !== undefined || firstSeq === undefined) throw error;
    onCut(firstSeq);
    yield* client.events(id, { ...reading, after: firstSeq - 1 });
  }
}
