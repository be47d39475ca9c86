import { Command } from 'commander';
import type { ServerClient } from '../client/server-client.ts';
import type { Execution } from '../protocol/execution.ts';
import type { CommandDeps } from './command-deps.ts';
import { findExecution } from './find-execution.ts';
import { requireServer, type ServerOptions } from './find-server.ts';
import { keyOption, urlOption } from './open-service.ts';

export interface ControlOptions extends ServerOptions {
  json?: boolean;
}

const WHAT = {
  cancel: 'end an execution on a server, whether it runs or waits',
  pause: 'stop an execution on a server, with all its processes, for 240 s at most',
  resume: 'let a paused execution go on',
} as const;

export function controlCommand(deps: CommandDeps, action: keyof typeof WHAT): Command {
  const more = action === 'cancel' ? '\nIts last event follows when its processes are dead; see watch.\n' : '';
  return serverCommand(action)
    .description(WHAT[action])
    .argument('<id>', 'its id, the first 8 characters or more of it, or last')
    .option('--json', 'print the execution as JSON')
    .addHelpText('after', `${more}\nExample:\n  cc-executor ${action} last\n`)
    .action(async (wanted: string, options: ControlOptions) => {
      await onServer(deps, options, async (client) => {
        const { id } = await findExecution(client, wanted);
        tell(deps, await client[action](id), options);
      });
    });
}

/** A command that needs a server. */
export function serverCommand(name: string): Command {
  return new Command(name).addOption(urlOption()).addOption(keyOption());
}

/** Does something on a server, and leaves it. */
export async function onServer(
  deps: CommandDeps,
  options: ServerOptions,
  act: (client: ServerClient) => Promise<void>,
): Promise<void> {
  const client = await requireServer(deps, options);
  try {
    await act(client);
  } finally {
    await client.close({ force: false });
  }
}

/** One line on stdout: the id and how the execution is now. */
export function tell({ terminal }: CommandDeps, execution: Execution, { json }: ControlOptions): void {
  const { id, state, outcome, cancelRequestedAt } = execution;
  const cancelling = outcome === null && cancelRequestedAt !== null;
  const line = `${id}  ${outcome?.kind ?? (cancelling ? 'cancelling' : state)}`;
  terminal.stdout.write(`${json ? JSON.stringify(execution, null, 2) : line}\n`);
}
