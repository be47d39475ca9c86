import type { Command } from 'commander';
import type { ServiceKey } from '../protocol/key-schemas.ts';
import type { CommandDeps } from './command-deps.ts';
import { printable } from './terminal.ts';
import { type KeyOptions, keyCommand, withKeys } from './with-keys.ts';

export function keyListCommand(deps: CommandDeps): Command {
  return keyCommand('list')
    .summary('list keys, oldest first')
    .description('Lists the keys, oldest first. None of them is shown, only what is known of it.')
    .option('--tenant <name>', 'only those of this tenant')
    .addHelpText('after', '\nExample:\n  cc-executor keys list\n')
    .action(async (options: KeyOptions & { tenant?: string }) => {
      const { tenant, json } = options;
      await withKeys(deps, options, async (client) => {
        const keys = await client.list(tenant === undefined ? {} : { tenant });
        const { stdout } = deps.terminal;
        if (json) stdout.write(`${JSON.stringify({ keys }, null, 2)}\n`);
        else for (const key of keys) stdout.write(`${line(key)}\n`);
      });
    });
}

function line(key: ServiceKey): string {
  const { id, tenant, name, scopes, limits, lastUsedAt } = key;
  const used = lastUsedAt === null ? 'never used' : `used ${lastUsedAt}`;
  const limited = limits === null ? [] : Object.entries(limits).map(([limit, most]) => `${limit} ${most}`);
  return [id, tenant, printable(name), scopes.join(','), ...limited, stateOf(key), used].join('  ');
}

function stateOf({ revokedAt, expiresAt, overlapEndsAt }: ServiceKey): string {
  if (revokedAt !== null) return `revoked ${revokedAt}`;
  if (expiresAt !== null) return `${Date.parse(expiresAt) <= Date.now() ? 'expired' : 'until'} ${expiresAt}`;
  return overlapEndsAt === null ? 'no end' : `no end, former secret until ${overlapEndsAt}`;
}
