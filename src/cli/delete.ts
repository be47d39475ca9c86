import type { Command } from 'commander';
import type { CommandDeps } from './command-deps.ts';
import { type ControlOptions, onServer, serverCommand } from './control.ts';
import { findExecution } from './find-execution.ts';

export function deleteCommand(deps: CommandDeps): Command {
  return serverCommand('delete')
    .description('remove a finished execution from a server, with its log and its fresh workspace')
    .argument('<id>', 'its id, the first 8 characters or more of it, or last')
    .option('--json', 'print what was removed as JSON')
    .addHelpText('after', '\nNamed and lent workspaces stay.\n\nExample:\n  cc-executor delete last\n')
    .action(async (wanted: string, options: ControlOptions) => {
      await onServer(deps, options, async (client) => {
        const { id } = await findExecution(client, wanted);
        await client.delete(id);
        deps.terminal.stdout.write(`${options.json ? JSON.stringify({ id, deleted: true }) : `${id}  deleted`}\n`);
      });
    });
}
