import { Command } from 'commander';
import type { Finding } from '../protocol/finding.ts';
import type { CommandDeps } from './command-deps.ts';
import { EXIT } from './exit-codes.ts';
import { styled } from './terminal.ts';

const MARKS = { ok: '✓', warn: '!', problem: '✗' } as const;
const STYLES = { ok: 'green', warn: 'yellow', problem: 'red' } as const;

export function doctorCommand(deps: CommandDeps): Command {
  return new Command('doctor')
    .summary('check this machine and say how to repair what is wrong')
    .option('--offline', 'do not ask the model API whether it takes the credential')
    .option('--json', 'print the findings as JSON')
    .addHelpText(
      'after',
      '\nThe credential is tried with one free token-counting call.\n\nExample:\n  cc-executor doctor\n',
    )
    .action(async (options: { offline?: boolean; json?: boolean }) => {
      const { terminal } = deps;
      const findings = await deps.diagnose({ online: options.offline !== true });
      const line = ({ name, state, detail, repair }: Finding): string =>
        `${styled(terminal, STYLES[state], MARKS[state])} ${name.padEnd(11)} ${detail}${repair === undefined ? '' : `\n  ${' '.repeat(11)} → ${repair}`}\n`;
      terminal.stdout.write(options.json ? `${JSON.stringify(findings, null, 2)}\n` : findings.map(line).join(''));
      deps.exit(findings.some(({ state }) => state === 'problem') ? EXIT.failed : EXIT.succeeded);
    });
}
