import { Command } from 'commander';
import type { CommandDeps } from './command-deps.ts';
import { exitCodeOf } from './exit-codes.ts';
import { findExecution } from './find-execution.ts';
import { drained, show } from './follow.ts';
import { wholeNumber } from './option-values.ts';
import { Renderer } from './render.ts';
import { summary } from './summary.ts';

export function watchCommand(deps: CommandDeps): Command {
  return new Command('watch')
    .summary('show the log of an execution, and follow it while it runs')
    .description(
      'Shows the log of an execution from its start, and follows it to its end. Ctrl-C leaves; the run goes on.',
    )
    .argument('<id>', 'its id, the first 8 characters or more of it, or last')
    .option('--after <seq>', 'only events after this one', wholeNumber, 0)
    .option('--json', 'print the events as NDJSON')
    .addHelpText('after', '\nExample:\n  cc-executor watch last\n')
    .action(async (wanted: string, options: { after: number; json?: boolean }) => {
      const { terminal } = deps;
      const client = await deps.openClient(undefined);
      const leaving = new AbortController();
      const leave = (): void => leaving.abort();
      process.once('SIGINT', leave).once('SIGTERM', leave);
      terminal.stdout.on('error', leave);
      const renderer = new Renderer(terminal, { textTo: terminal.stdout });
      try {
        const { id } = await findExecution(client, wanted);
        const { signal } = leaving;
        for await (const batch of client.events(id, { after: options.after, signal })) {
          show(batch, { terminal, renderer, json: options.json ?? false, quiet: false });
          await drained(terminal.stdout);
        }
        renderer.stop();
        const execution = await client.get(id);
        if (!options.json) terminal.stderr.write(summary(deps, execution));
        deps.exit(signal.aborted ? 0 : exitCodeOf(execution));
      } finally {
        renderer.stop();
        await client.close({ force: false });
      }
    });
}
