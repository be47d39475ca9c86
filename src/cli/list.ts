import { Command, Option } from 'commander';
import type { ExecutorClient, ListOptions } from '../client/executor-client.ts';
import { EXECUTION_STATES, type Execution, OUTCOME_KINDS } from '../protocol/execution.ts';
import type { CommandDeps } from './command-deps.ts';
import { wholeNumber } from './option-values.ts';
import { dollars, duration, firstLine } from './terminal.ts';

export function listCommand(deps: CommandDeps): Command {
  return new Command('list')
    .summary('list executions, newest first')
    .addOption(new Option('--state <state>', 'only those in this state').choices(EXECUTION_STATES))
    .addOption(new Option('--outcome <outcome>', 'only those that ended so').choices(OUTCOME_KINDS))
    .option('--session <id>', 'only those of this session')
    .option('-n, --limit <n>', 'at most so many', wholeNumber, 20)
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExample:\n  cc-executor list --outcome failed\n')
    .action(
      async ({
        json,
        session,
        limit,
        ...filter
      }: Omit<ListOptions, 'sessionId'> & { json?: boolean; session?: string }) => {
        const { stdout } = deps.terminal;
        const client = await deps.openClient(undefined);
        try {
          const options = {
            ...filter,
            limit: Math.min(Math.max(limit, 1), 1000),
            ...(session === undefined ? {} : { sessionId: session }),
          };
          const page = await client.list(options);
          if (json) {
            stdout.write(`${JSON.stringify(page, null, 2)}\n`);
          } else if (page.executions.length === 0) {
            deps.terminal.stderr.write('There are none yet. Start one with: cc-executor run "…"\n');
          } else {
            const width = stdout.isTTY ? (stdout.columns || 120) - 1 : Number.POSITIVE_INFINITY;
            for (const execution of page.executions)
              stdout.write(`${firstLine(await row(client, execution), width)}\n`);
          }
        } finally {
          await client.close({ force: false });
        }
      },
    );
}

async function row(client: ExecutorClient, execution: Execution): Promise<string> {
  const { id, state, outcome, startedAt, finishedAt, result, model, createdAt } = execution;
  const took =
    startedAt === null
      ? ''
      : duration((finishedAt === null ? Date.now() : Date.parse(finishedAt)) - Date.parse(startedAt));
  const cells = [
    id,
    (outcome?.reason ?? outcome?.kind ?? state).padEnd(18),
    createdAt.slice(0, 16).replace('T', ' '),
    took.padStart(8),
    (result === null ? '' : dollars(result.usage.costUsd)).padStart(8),
    model.padEnd(8),
    await promptOf(client, id),
  ];
  return cells.join('  ');
}

/** The first event of a log holds the prompt; a log that was cut has none any more. */
export async function promptOf(client: ExecutorClient, id: string): Promise<string> {
  try {
    for await (const [first] of client.events(id, { after: 0 })) {
      const event = first === undefined ? undefined : JSON.parse(first.bytes);
      return String(event?.data?.prompt ?? '');
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'truncated_before')) throw error;
  }
  return '';
}
