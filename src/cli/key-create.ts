import { type Command, InvalidArgumentError } from 'commander';
import type { MadeKey } from '../protocol/key-schemas.ts';
import { SCOPES, Scope } from '../protocol/scopes.ts';
import type { CommandDeps } from './command-deps.ts';
import { printable } from './terminal.ts';
import { type KeyOptions, keyCommand, withKeys } from './with-keys.ts';

interface CreateOptions extends KeyOptions {
  scope: Scope[];
  tenant?: string;
  expires?: string;
  concurrentRuns?: number;
  startsPerMinute?: number;
  bytesPerDay?: number;
  spendPerDay?: number;
}

const DAY_MS = 24 * 3_600_000;
/** All but `admin`. */
const USUAL: readonly Scope[] = SCOPES.filter((scope) => scope !== 'admin');

export function keyCreateCommand(deps: CommandDeps): Command {
  return keyCommand('create')
    .summary('make a key')
    .description('Makes a key. stdout holds the key alone: it is shown this once, and only its hash is kept.')
    .argument('<name>', 'what it is for')
    .option('--scope <scopes>', `what it may do, separated by commas: ${SCOPES.join(', ')}`, scopesIn, [...USUAL])
    .option('--tenant <name>', 'whose records it opens; else those of the caller')
    .option('--expires <when>', 'its end: a time such as 2030-01-31T12:00:00Z, or days from now such as 30d', endIn)
    .option('--concurrent-runs <n>', 'executions that have not finished, at once', numberIn)
    .option('--starts-per-minute <n>', 'executions started in a minute', numberIn)
    .option('--bytes-per-day <n>', 'bytes of requests and uploads in a day (UTC)', numberIn)
    .option('--spend-per-day <usd>', 'US dollars of model calls in a day (UTC)', numberIn)
    .addHelpText(
      'after',
      '\nExamples:\n  cc-executor keys create "nightly build" --expires 90d\n' +
        '  cc-executor keys create dashboard --tenant acme --scope executions:read\n',
    )
    .action(async (name: string, options: CreateOptions) => {
      const { scope: scopes, tenant, expires: expiresAt } = options;
      const limits = limitsIn(options);
      const wanted = {
        ...{ name, scopes },
        ...(tenant === undefined ? {} : { tenant }),
        ...(expiresAt === undefined ? {} : { expiresAt }),
        ...(Object.keys(limits).length === 0 ? {} : { limits }),
      };
      await withKeys(deps, options, async (keys) => tellMade(deps, await keys.create(wanted), options));
    });
}

/** The key alone on stdout, so that it can go into a file; what it is, on stderr. */
export function tellMade({ terminal }: CommandDeps, made: MadeKey, { json }: KeyOptions): void {
  terminal.stdout.write(`${json ? JSON.stringify(made, null, 2) : made.key}\n`);
  if (json) return;
  const { id, name, tenant, scopes, expiresAt, overlapEndsAt } = made;
  const end = expiresAt === null ? 'no end' : `until ${expiresAt}`;
  const overlap = overlapEndsAt === null ? '' : ` The former secret opens until ${overlapEndsAt}.`;
  terminal.stderr.write(
    `Key ${id} (${printable(name)}) of tenant ${tenant}: ${scopes.join(', ')}; ${end}. It is shown this once.${overlap}\n`,
  );
}

function limitsIn({
  concurrentRuns,
  startsPerMinute,
  bytesPerDay,
  spendPerDay,
}: CreateOptions): Record<string, number> {
  const given = { concurrentRuns, startsPerMinute, bytesPerDay, spendUsdPerDay: spendPerDay };
  return Object.fromEntries(Object.entries(given).filter((entry): entry is [string, number] => entry[1] !== undefined));
}

function scopesIn(text: string): Scope[] {
  return text.split(',').map((part) => {
    const scope = Scope.safeParse(part.trim()).data;
    if (scope !== undefined) return scope;
    throw new InvalidArgumentError(`Allowed are ${SCOPES.join(', ')}, separated by commas.`);
  });
}

function endIn(text: string): string {
  const days = /^(\d{1,5})d$/.exec(text)?.[1];
  if (days !== undefined) return new Date(Date.now() + Number(days) * DAY_MS).toISOString();
  if (/^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text))) return text;
  throw new InvalidArgumentError('Write a time with its zone, such as 2030-01-31T12:00:00Z, or days such as 30d.');
}

function numberIn(text: string): number {
  if (/^\d{1,15}(\.\d{1,6})?$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Write a number.');
}
