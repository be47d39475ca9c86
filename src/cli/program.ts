import { Command, CommanderError } from 'commander';
import { ERRORS, ServiceError } from '../protocol/errors.ts';
import type { CommandDeps } from './command-deps.ts';
import { demoCommand } from './demo.ts';
import { doctorCommand } from './doctor.ts';
import { EXIT, exitCodeOfError } from './exit-codes.ts';
import { listCommand } from './list.ts';
import { runCommand } from './run.ts';
import { showCommand } from './show.ts';
import { styled, type Terminal } from './terminal.ts';
import { watchCommand } from './watch.ts';

/**
 * Runs the command line to its end.
 * @param argv the arguments behind the program's name
 * @returns the exit code
 */
export async function runProgram(argv: string[], deps: Omit<CommandDeps, 'exit'>, version: string): Promise<number> {
  let code: number = EXIT.succeeded;
  const all: CommandDeps = {
    ...deps,
    exit: (given) => {
      code = given;
    },
  };
  const program = new Command('cc-executor')
    .description('Runs Claude Code tasks, supervised, logged and told truly.')
    .version(version, '-V, --version')
    .addHelpText(
      'after',
      '\nExit codes: 0 succeeded · 1 failed · 2 wrong usage · 3 timed out · 4 cancelled · 5 lost · 6 no service\n',
    )
    .showHelpAfterError('(see --help)');
  for (const make of [runCommand, watchCommand, listCommand, showCommand, doctorCommand, demoCommand]) {
    program.addCommand(make(all));
  }
  for (const command of [program, ...program.commands]) command.exitOverride();
  try {
    await program.parseAsync(argv, { from: 'user' });
    return code;
  } catch (error) {
    return tell(deps.terminal, error);
  }
}

/** Says what went wrong in one block on stderr; what is not foreseen is thrown on. */
function tell(terminal: Terminal, error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.succeeded : EXIT.usage;
  if (!(error instanceof ServiceError)) throw error;
  terminal.stderr.write(`${styled(terminal, 'red', ERRORS[error.code].title)}\n${error.message}\n`);
  return exitCodeOfError(error.code);
}
