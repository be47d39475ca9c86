import { join } from 'node:path';
import { Command } from 'commander';
import type { CommandDeps } from './command-deps.ts';

export function keysCommand(deps: CommandDeps): Command {
  return new Command('keys')
    .description('the key that opens the server of this data folder')
    .addCommand(resetCommand(deps));
}

function resetCommand(deps: CommandDeps): Command {
  return new Command('reset')
    .summary('make a new key in place of the old one')
    .description(
      'Makes a new key for the server of this data folder; the old one opens nothing any more. stdout holds the key\n' +
        'alone. A key that the operator chose with CC_API_KEY stays as it is.',
    )
    .option('--json', 'print the key as JSON')
    .addHelpText('after', '\nExample:\n  cc-executor keys reset\n')
    .action(async ({ json }: { json?: boolean }) => {
      const { stdout, stderr } = deps.terminal;
      const key = await deps.resetKey();
      stdout.write(`${json ? JSON.stringify({ key }) : key}\n`);
      if (!json)
        stderr.write(`It is kept in ${join(deps.dataDirectory(), 'key')} for the command line of this machine.\n`);
    });
}
