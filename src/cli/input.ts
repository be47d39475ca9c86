import type { Command } from 'commander';
import type { CommandDeps } from './command-deps.ts';
import { type ControlOptions, onServer, serverCommand, tell } from './control.ts';
import { findExecution } from './find-execution.ts';
import { readPrompt } from './read-prompt.ts';

export function inputCommand(deps: CommandDeps): Command {
  return serverCommand('input')
    .description('say something more to an execution that runs on a server')
    .argument('<id>', 'its id, the first 8 characters or more of it, or last')
    .argument('[text]', 'what to say, done after the current turn; - or nothing reads it from stdin')
    .option('--json', 'print the execution as JSON')
    .addHelpText('after', '\nExample:\n  cc-executor input last "and run the tests"\n')
    .action(async (wanted: string, argument: string | undefined, options: ControlOptions) => {
      const text = await readPrompt(deps.terminal, { argument, file: undefined });
      await onServer(deps, options, async (client) => {
        const { id } = await findExecution(client, wanted);
        tell(deps, await client.input(id, text), options);
      });
    });
}
