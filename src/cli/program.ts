import { Command, CommanderError } from 'commander';
import { ERRORS, type ErrorCode, ServiceError } from '../protocol/errors.ts';
import { auditCommand } from './audit.ts';
import type { CommandDeps } from './command-deps.ts';
import { controlCommand } from './control.ts';
import { deleteCommand } from './delete.ts';
import { demoCommand } from './demo.ts';
import { doctorCommand } from './doctor.ts';
import { EXIT, exitCodeOfError } from './exit-codes.ts';
import { inputCommand } from './input.ts';
import { keysCommand } from './keys.ts';
import { listCommand } from './list.ts';
import { OutputGuard } from './output-guard.ts';
import { runCommand } from './run.ts';
import { serveCommand } from './serve.ts';
import { showCommand } from './show.ts';
import { printable, styled, type Terminal } from './terminal.ts';
import { watchCommand } from './watch.ts';

/**
 * Runs the command line to its end. What goes wrong is one block on stderr, or one JSON object with `--json`.
 * @param argv the arguments behind the program's name
 * @returns the exit code
 */
export async function runProgram(argv: string[], deps: Omit<CommandDeps, 'exit'>, version: string): Promise<number> {
  const output = new OutputGuard(deps.terminal);
  let code: number = EXIT.succeeded;
  const all: CommandDeps = {
    ...deps,
    exit: (given) => {
      code = given;
    },
  };
  const json = wantsJson(argv);
  const program = new Command('cc-executor')
    .description(
      'Runs Claude Code tasks, supervised, logged and told truly.\n' +
        'Commands talk to the server that --url or CC_URL names, or that serves this\n' +
        'data folder; without one, run, watch, list and show do the work themselves.',
    )
    .version(version, '-V, --version')
    .addHelpText(
      'after',
      '\nExit codes: 0 succeeded · 1 failed · 2 wrong usage · 3 timed out · 4 cancelled · 5 lost · 6 no server\n',
    );
  for (const command of commands(all)) program.addCommand(command);
  for (const command of withSubcommands(program)) {
    command.exitOverride().showHelpAfterError('(see --help)');
    if (json) command.configureOutput({ writeErr: () => {} });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
    return output.codeAfter(code);
  } catch (error) {
    return tell({ terminal: deps.terminal, json }, error);
  }
}

/** In the order of the help text. */
function commands(deps: CommandDeps): Command[] {
  return [
    runCommand(deps),
    watchCommand(deps),
    listCommand(deps),
    showCommand(deps),
    controlCommand(deps, 'cancel'),
    controlCommand(deps, 'pause'),
    controlCommand(deps, 'resume'),
    inputCommand(deps),
    deleteCommand(deps),
    serveCommand(deps),
    keysCommand(deps),
    auditCommand(deps),
    doctorCommand(deps),
    demoCommand(deps),
  ];
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return argv.slice(0, end === -1 ? argv.length : end).includes('--json');
}

function tell({ terminal, json }: { terminal: Terminal; json: boolean }, error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.succeeded;
    if (json) tellJson(terminal, { code: 'invalid_request', detail: error.message.replace(/^error: /, '') });
    return EXIT.usage;
  }
  // A defect: its stack is what the people who mend it need.
  const detail = error instanceof ServiceError ? error.message : String(error instanceof Error ? error.stack : error);
  const code = error instanceof ServiceError ? error.code : 'internal';
  if (json) tellJson(terminal, { code, detail, ...(error instanceof ServiceError ? error.data : {}) });
  else if (code === 'invalid_request') terminal.stderr.write(`${styled(terminal, 'red', printable(detail))}\n`);
  else terminal.stderr.write(`${styled(terminal, 'red', ERRORS[code].title)}\n${printable(detail)}\n`);
  return exitCodeOfError(code);
}

function tellJson(terminal: Terminal, error: { code: ErrorCode; detail: string }): void {
  terminal.stderr.write(`${JSON.stringify({ title: ERRORS[error.code].title, ...error })}\n`);
}
