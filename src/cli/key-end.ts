import { type Command, InvalidArgumentError } from 'commander';
import type { CommandDeps } from './command-deps.ts';
import { tellMade } from './key-create.ts';
import { type KeyOptions, keyCommand, withKeys } from './with-keys.ts';

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

export function keyRevokeCommand(deps: CommandDeps): Command {
  return keyCommand('revoke')
    .description('make a key and all its tokens open nothing any more, at once')
    .argument('<id>', 'the id of the key; see keys list')
    .addHelpText('after', '\nExample:\n  cc-executor keys revoke 0123456789abcdef\n')
    .action(async (id: string, options: KeyOptions) => {
      await withKeys(deps, options, async (keys) => {
        const revoked = await keys.revoke(id);
        const text = options.json ? JSON.stringify(revoked, null, 2) : `${revoked.id}  revoked ${revoked.revokedAt}`;
        deps.terminal.stdout.write(`${text}\n`);
      });
    });
}

export function keyRotateCommand(deps: CommandDeps): Command {
  return keyCommand('rotate')
    .summary('give a key a new secret')
    .description(
      'Gives a key a new secret; the former one opens for a day more. stdout holds the new key alone: it is shown this\nonce. Is the former one known to others, end it at once with --overlap 0.',
    )
    .argument('<id>', 'the id of the key; see keys list')
    .option('--overlap <time>', 'how long the former secret goes on opening: 0, or such as 10m, 12h, 7d', secondsIn)
    .addHelpText('after', '\nExample:\n  cc-executor keys rotate 0123456789abcdef --overlap 1h\n')
    .action(async (id: string, options: KeyOptions & { overlap?: number }) => {
      const { overlap } = options;
      const how = overlap === undefined ? {} : { overlapSeconds: overlap };
      await withKeys(deps, options, async (keys) => tellMade(deps, await keys.rotate(id, how), options));
    });
}

function secondsIn(text: string): number {
  const [, number, unit = 's'] = /^(\d{1,7})([smhd]?)$/.exec(text) ?? [];
  if (number === undefined || (text !== '0' && /^\d+$/.test(text))) {
    throw new InvalidArgumentError('Write 0, or a time such as 10m, 12h or 7d.');
  }
  return Number(number) * (UNITS[unit] ?? 1);
}
