import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { ServiceError } from '../protocol/errors.ts';
import type { ExecutionRequestInput } from '../protocol/execution-request.ts';
import type { CommandDeps } from './command-deps.ts';
import type { ServerOptions } from './find-server.ts';
import { follow } from './follow.ts';
import { embedded, keyOption, type OpenedService, openService, urlOption } from './open-service.ts';
import { amount, durationMs, pair, rules, wholeNumber } from './option-values.ts';
import { readPrompt } from './read-prompt.ts';
import { nameOptions, toRequest } from './run-request.ts';
import { styled } from './terminal.ts';

export interface RunOptions extends ServerOptions {
  promptFile?: string;
  model?: string;
  fallbackModel?: string;
  allow?: string[];
  deny?: string[];
  tools?: string[];
  permissionMode?: ExecutionRequestInput['permissionMode'];
  system?: string;
  systemFile?: string;
  appendSystem?: string;
  appendSystemFile?: string;
  schema?: string;
  repairTurns?: number;
  maxTurns?: number;
  maxBudget?: number;
  timeLimit?: number;
  stallAfter?: number;
  session?: string;
  workspace?: string;
  egress?: string[];
  env?: Record<string, string>;
  mcpConfig?: string;
  partial: boolean;
  metadata?: Record<string, string>;
  idempotencyKey?: string;
  retry?: number;
  dir?: string;
  fresh?: boolean;
  json?: boolean;
  quiet?: boolean;
}

export function runCommand(deps: CommandDeps): Command {
  return new Command('run')
    .summary('run one Claude task and follow it to its end')
    .description(
      'Runs one task in the current directory, like claude -p, and follows it to its end. stdout holds the answer,\n' +
        'stderr what happens. Ctrl-C cancels; a second Ctrl-C leaves at once. Everything is kept: see list, show, watch.\n' +
        'Where there is a server, the task runs there, in a fresh workspace; --dir . works in the current directory.',
    )
    .argument('[prompt]', 'the task; - or nothing reads it from stdin')
    .option('-f, --prompt-file <file>', 'read the prompt from a file')
    .option('-m, --model <model>', 'sonnet, opus, haiku or a full model name')
    .option('--fallback-model <model>', 'the model when the first is overloaded')
    .option('--allow <rules>', 'tools that run without asking: Read,"Bash(git *)"; may be repeated', rules)
    .option('--deny <rules>', 'tools that never run', rules)
    .option('--tools <names>', 'the only tools there are; "" for none', rules)
    .option('--permission-mode <mode>', 'default, acceptEdits, plan, dontAsk or bypassPermissions')
    .option('--system <text>', 'a system prompt in place of the own one')
    .addOption(new Option('--system-file <file>', 'the same, from a file').conflicts('system'))
    .option('--append-system <text>', 'text behind the own system prompt')
    .addOption(new Option('--append-system-file <file>', 'the same, from a file').conflicts('appendSystem'))
    .option('--schema <file>', 'a JSON Schema; the answer is JSON that matches it')
    .option('--repair-turns <n>', 'how often a wrong answer to --schema is asked for again', wholeNumber)
    .option('--max-turns <n>', 'end after so many turns', wholeNumber)
    .option('--max-budget <usd>', 'no further model call once so much is spent', amount)
    .option('--time-limit <duration>', 'end after 90s, 5m, 1h30m or 500ms; a number needs its unit', durationMs)
    .option('--stall-after <duration>', 'say so after so long a silence', durationMs)
    .option('--session <id>', 'go on with an earlier conversation')
    .option('--workspace <name>', 'a named workspace in place of the current directory')
    .addOption(new Option('--fresh', 'a fresh workspace in place of the current directory').conflicts('workspace'))
    .addOption(
      new Option('--dir <directory>', 'another directory in place of the current one').conflicts([
        'fresh',
        'workspace',
        'url',
        'key',
      ]),
    )
    .option('--egress <hosts>', 'hosts to reach besides the model: example.org,*.example.org; "" for none', rules)
    .option('-e, --env <NAME=VALUE>', 'a variable for the run; may be repeated', pair)
    .option('--mcp-config <file>', 'MCP servers, as claude takes them')
    .option('--no-partial', 'no text as it streams')
    .option('--metadata <NAME=VALUE>', 'kept with the execution; may be repeated', pair)
    .option('--idempotency-key <key>', 'the same key and request run once')
    .option('--retry <n>', 'attempts more after a passing failure; needs --fresh', wholeNumber)
    .option('--json', 'print the events as NDJSON on stdout')
    .option('-q, --quiet', 'print the final answer alone')
    .addOption(urlOption())
    .addOption(keyOption())
    .addHelpText(
      'after',
      '\nExamples:\n  cc-executor run "fix the failing test" --allow "Bash(npm test),Read,Edit"\n' +
        '  git diff | cc-executor run "review this change" --time-limit 5m\n' +
        '  cc-executor run "name the languages used here" --schema languages.json > answer.json\n',
    )
    .action(async (argument: string | undefined, options: RunOptions) => {
      const prompt = await readPrompt(deps.terminal, { argument, file: options.promptFile });
      const request = await toRequest(prompt, options);
      refuseRetryOutsideFresh(options);
      const service = await serviceFor(deps, options);
      const { client, url, pasted } = service;
      if (url !== undefined && !options.json && !options.quiet) tellWhere(deps, options, url);
      // A run on a server outlives this process; any other is bound to it.
      const bound = url === undefined ? { cancelOnDisconnect: true } : {};
      const start = () => client.execute({ ...request, ...bound }).catch(nameOptions);
      deps.exit(await follow(deps, client, { ...options, pasted, start }));
    });
}

/** A directory of this machine is worked in by a service of this process, whatever servers there are. */
async function serviceFor(deps: CommandDeps, options: RunOptions): Promise<OpenedService> {
  const { dir, fresh, workspace, session } = options;
  if (dir !== undefined) return embedded(deps, resolve(dir));
  const elsewhere = fresh === true || workspace !== undefined || session !== undefined;
  return openService(deps, options, elsewhere ? undefined : resolve(deps.directory));
}

function tellWhere({ terminal }: CommandDeps, options: RunOptions, url: string): void {
  const hint = options.url === undefined ? ' (--dir . works in this folder instead)' : '';
  terminal.stderr.write(`${styled(terminal, 'dim', `on ${url}, ${placeOf(options, hint)}`)}\n`);
}

function placeOf({ workspace, session }: RunOptions, hint: string): string {
  if (session !== undefined) return 'in the workspace of that session';
  return workspace === undefined ? `in a fresh workspace there${hint}` : `in the workspace ${workspace} there`;
}

/** A retry starts from an empty workspace: what lies in a directory of one's own, or in a session's, would be lost. */
function refuseRetryOutsideFresh({ retry = 0, fresh, session }: RunOptions): void {
  if (retry === 0 || (fresh === true && session === undefined)) return;
  throw new ServiceError(
    'invalid_request',
    '--retry empties the workspace before another attempt, so it needs --fresh and no --session',
  );
}
