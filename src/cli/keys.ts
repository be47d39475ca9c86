import { join } from 'node:path';
import { Command } from 'commander';
import type { CommandDeps } from './command-deps.ts';
import { keyCreateCommand } from './key-create.ts';
import { keyRevokeCommand, keyRotateCommand } from './key-end.ts';
import { keyListCommand } from './key-list.ts';

export function keysCommand(deps: CommandDeps): Command {
  return new Command('keys')
    .description('the keys that open a server')
    .addCommand(keyCreateCommand(deps))
    .addCommand(keyListCommand(deps))
    .addCommand(keyRevokeCommand(deps))
    .addCommand(keyRotateCommand(deps))
    .addCommand(resetCommand(deps));
}

function resetCommand(deps: CommandDeps): Command {
  return new Command('reset')
    .summary('make a new key in place of all those of the operator')
    .description(
      'Makes a new key for the servers of this machine’s store; those of the operator (tenant local) open nothing any\n' +
        'more, those of other tenants stay. stdout holds the key alone. CC_API_KEY stays as it is.',
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
