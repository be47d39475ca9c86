import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { Command } from 'commander';
import { type ChainLink, verifyChain } from '../protocol/audit.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { CommandDeps } from './command-deps.ts';
import { type ControlOptions, onServer, serverCommand } from './control.ts';
import { EXIT } from './exit-codes.ts';
import { wholeNumber } from './option-values.ts';

export function auditCommand(deps: CommandDeps): Command {
  return new Command('audit')
    .description('who did what on a server')
    .addCommand(exportCommand(deps))
    .addCommand(verifyCommand(deps));
}

function exportCommand(deps: CommandDeps): Command {
  return serverCommand('export')
    .summary('print the audit log, one entry a line')
    .description('Prints the audit log of a server as it is stored: one JSON object a line, the oldest first.')
    .option('--after <seq>', 'only those after this entry', wholeNumber, 0)
    .addHelpText('after', '\nExample:\n  cc-executor audit export > audit.ndjson\n')
    .action(async ({ after, ...options }: ControlOptions & { after: number }) => {
      const { stdout } = deps.terminal;
      await onServer(deps, options, async (client) => {
        for await (const line of client.audit(after)) {
          if (stdout.destroyed) return;
          if (!stdout.write(`${line}\n`)) await Promise.race([once(stdout, 'drain'), once(stdout, 'close')]);
        }
      });
    });
}

function verifyCommand(deps: CommandDeps): Command {
  return serverCommand('verify')
    .summary('say whether the audit log is whole')
    .description(
      'Follows the hashes from entry to entry, of an exported file or of a server’s whole log. Exit code 1 when one is\n' +
        'missing or was changed. Keep the last hash somewhere else: it stands for all entries up to it.',
    )
    .argument('[file]', 'an exported file; without one, the log of the server')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExample:\n  cc-executor audit verify audit.ndjson\n')
    .action(async (file: string | undefined, options: ControlOptions) => {
      if (file !== undefined) return tell(deps, options, await verifyChain(linesOf(file)));
      await onServer(deps, options, async (client) => {
        const { last, cut } = await client.auditEnds();
        const found = await verifyChain(client.audit(0), cut);
        const short = 'last' in found && found.last.seq < last.seq;
        tell(deps, options, short ? { problem: `entry ${found.last.seq + 1} and those behind it are missing` } : found);
      });
    });
}

function tell(
  { terminal, exit }: CommandDeps,
  { json }: ControlOptions,
  found: { entries: number; last: ChainLink } | { problem: string },
): void {
  const whole = 'last' in found;
  if (!whole) exit(EXIT.failed);
  if (json) terminal.stdout.write(`${JSON.stringify(whole ? { whole, ...found } : { whole, ...found })}\n`);
  else if (whole)
    terminal.stdout.write(`whole: ${found.entries} entries, up to ${found.last.seq} ${found.last.hash}\n`);
  else terminal.stdout.write(`not whole: ${found.problem}\n`);
}

async function* linesOf(path: string): AsyncGenerator<string, void, void> {
  await using file = await open(path).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ServiceError('invalid_request', `${path} cannot be read: ${why}`, { cause });
  });
  for await (const line of file.readLines()) if (line !== '') yield line;
}
