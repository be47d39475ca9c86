import { Command } from 'commander';
import type { Execution } from '../protocol/execution.ts';
import type { CommandDeps } from './command-deps.ts';
import { findExecution } from './find-execution.ts';
import type { ServerOptions } from './find-server.ts';
import { promptOf } from './list.ts';
import { keyOption, type OpenedService, openService, urlOption } from './open-service.ts';
import { summary } from './summary.ts';
import { forStream, printable, styled } from './terminal.ts';

export function showCommand(deps: CommandDeps): Command {
  return new Command('show')
    .summary('show how an execution ended and what it answered')
    .argument('<id>', 'its id, the first 8 characters or more of it, or last')
    .option('--json', 'print the whole record as JSON')
    .option('--text', 'print the answer alone')
    .addOption(urlOption())
    .addOption(keyOption())
    .addHelpText('after', '\nExample:\n  cc-executor show last --text\n')
    .action(async (wanted: string, options: ServerOptions & { json?: boolean; text?: boolean }) => {
      const { terminal } = deps;
      const service = await openService(deps, options, undefined);
      const { client } = service;
      try {
        const execution = await findExecution(client, wanted);
        if (options.json) terminal.stdout.write(`${JSON.stringify(execution, null, 2)}\n`);
        else if (options.text) terminal.stdout.write(`${forStream(terminal.stdout, answerOf(execution))}\n`);
        else terminal.stdout.write(page(deps, { execution, service, prompt: await promptOf(client, execution.id) }));
      } finally {
        await client.close({ force: false });
      }
    });
}

function answerOf({ result, partialText }: Execution): string {
  if (result?.structured != null) return JSON.stringify(result.structured, null, 2);
  return result === null || result.text === '' ? partialText : result.text;
}

function page(
  deps: CommandDeps,
  { execution, service, prompt }: { execution: Execution; service: OpenedService; prompt: string },
): string {
  const { url, pasted } = service;
  const {
    id,
    state,
    createdAt,
    startedAt,
    finishedAt,
    workspace,
    sessionId,
    model,
    cli,
    isolation,
    lastSeq,
    attempt,
    timeLimit,
    metadata,
    denials,
  } = execution;
  const place = url === undefined ? `in ${deps.dataDirectory()}` : `on ${url}`;
  const rows: [string, string][] = [
    ['execution', id],
    ['state', state],
    ['prompt', prompt.length > 500 ? `${prompt.slice(0, 500)}…` : prompt],
    ['workspace', workspace],
    ['session', sessionId ?? ''],
    ['model', model],
    ['claude', cli?.version ?? ''],
    ['isolation', isolation],
    ['attempt', String(attempt)],
    ['time limit', `${timeLimit.ms} ms (${timeLimit.source})`],
    ['created', createdAt],
    ['started', startedAt ?? ''],
    ['finished', finishedAt ?? ''],
    ['log', `${lastSeq} events ${place}; read it with: ${deps.invocation} watch ${id}${pasted}`],
    [
      'metadata',
      Object.entries(metadata)
        .map(([name, value]) => `${name}=${value}`)
        .join(', '),
    ],
    ['denied', denials.map(({ name }) => name).join(', ')],
  ];
  const lines = rows
    .filter(([, value]) => value !== '')
    .map(
      ([name, value]) =>
        `${styled(deps.terminal, 'dim', name.padEnd(11))} ${printable(value).replaceAll('\n', `\n${' '.repeat(12)}`)}`,
    );
  const answer = answerOf(execution);
  return `${lines.join('\n')}\n\n${answer === '' ? '' : `${printable(answer)}\n\n`}${summary(deps, execution, pasted)}`;
}
