import { Command, Option } from 'commander';
import type { ExecutorClient, ListOptions } from '../client/executor-client.ts';
import { EXECUTION_STATES, type Execution, OUTCOME_KINDS } from '../protocol/execution.ts';
import type { CommandDeps } from './command-deps.ts';
import { listUpTo } from './find-execution.ts';
import type { ServerOptions } from './find-server.ts';
import { keyOption, openService, urlOption } from './open-service.ts';
import { rowLimit } from './option-values.ts';
import { dollars, duration, firstLine, styled } from './terminal.ts';

export function listCommand(deps: CommandDeps): Command {
  return new Command('list')
    .summary('list executions, newest first')
    .addOption(new Option('--state <state>', 'only those in this state').choices(EXECUTION_STATES))
    .addOption(new Option('--outcome <outcome>', 'only those that ended so').choices(OUTCOME_KINDS))
    .option('--session <id>', 'only those of this session')
    .option('-n, --limit <n>', 'at most so many, 1000 or fewer', rowLimit, 20)
    .option('--cursor <id>', 'only older ones than this; --json gives the next one as nextCursor')
    .option('--json', 'print them as JSON')
    .addOption(urlOption())
    .addOption(keyOption())
    .addHelpText('after', '\nExample:\n  cc-executor list --outcome failed\n')
    .action(
      async ({
        json,
        session,
        limit,
        url,
        key,
        ...filter
      }: ServerOptions & Omit<ListOptions, 'sessionId'> & { json?: boolean; session?: string }) => {
        const { stdout } = deps.terminal;
        const where = { ...(url === undefined ? {} : { url }), ...(key === undefined ? {} : { key }) };
        const { client } = await openService(deps, where, undefined);
        try {
          const options = {
            ...filter,
            limit,
            ...(session === undefined ? {} : { sessionId: session }),
          };
          const page = await listUpTo(client, options);
          if (json) stdout.write(`${JSON.stringify(page, null, 2)}\n`);
          else await printTable(deps, client, page.executions);
        } finally {
          await client.close({ force: false });
        }
      },
    );
}

async function printTable(deps: CommandDeps, client: ExecutorClient, executions: Execution[]): Promise<void> {
  const { terminal, invocation } = deps;
  const { stdout, stderr } = terminal;
  if (executions.length === 0) {
    stderr.write(`There are none. Start one with: ${invocation} run "…"\n`);
    return;
  }
  const width = stdout.isTTY ? (stdout.columns || 120) - 1 : Number.POSITIVE_INFINITY;
  if (stdout.isTTY) stdout.write(`${styled(terminal, 'bold', firstLine(HEADINGS, width))}\n`);
  for (const execution of executions) stdout.write(`${firstLine(await row(client, execution), width)}\n`);
}

const PROMPT_WIDTH = 200;
const HEADINGS = [
  'execution'.padEnd(36),
  'state'.padEnd(18),
  'age'.padStart(7),
  'time'.padStart(8),
  'cost'.padStart(8),
  'model'.padEnd(8),
  'prompt',
].join('  ');

/** `12s ago`, `5m ago`, `3h ago`, `9d ago`. */
function age(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.max(0, Math.floor(ms / 1000))}s ago`;
  if (minutes < 60) return `${minutes}m ago`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h ago` : `${Math.floor(hours / 24)}d ago`;
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
    age(Date.now() - Date.parse(createdAt)).padStart(7),
    took.padStart(8),
    (result === null ? '' : dollars(result.usage.costUsd)).padStart(8),
    model.padEnd(8),
    firstLine(await promptOf(client, id), PROMPT_WIDTH),
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
