import { resolve } from 'node:path';
import { Command } from 'commander';
import { ServiceError } from '../protocol/errors.ts';
import type { ExecutionRequestInput } from '../protocol/execution-request.ts';
import type { CommandDeps } from './command-deps.ts';
import { follow } from './follow.ts';
import { amount, durationMs, pair, rules, wholeNumber } from './option-values.ts';
import { readNamedFile, readPrompt } from './read-prompt.ts';

export interface RunOptions {
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
        'stderr what happens. Ctrl-C cancels; a second Ctrl-C leaves at once. Everything is kept: see list, show, watch.',
    )
    .argument('[prompt]', 'the task; - or nothing reads it from stdin')
    .option('-f, --prompt-file <file>', 'read the prompt from a file')
    .option('-m, --model <model>', 'sonnet, opus, haiku or a full model name')
    .option('--fallback-model <model>', 'the model when the first is overloaded')
    .option('--allow <rules>', 'tools that run without asking: Read,"Bash(git *)"; may be repeated', rules)
    .option('--deny <rules>', 'tools that never run', rules)
    .option('--tools <names>', 'the only tools there are', rules)
    .option('--permission-mode <mode>', 'default, acceptEdits, plan, dontAsk or bypassPermissions')
    .option('--system <text>', 'a system prompt in place of the own one')
    .option('--system-file <file>', 'the same, from a file')
    .option('--append-system <text>', 'text behind the own system prompt')
    .option('--append-system-file <file>', 'the same, from a file')
    .option('--schema <file>', 'a JSON Schema; the answer is JSON that matches it')
    .option('--repair-turns <n>', 'how often a wrong answer to --schema is asked for again', wholeNumber)
    .option('--max-turns <n>', 'end after so many turns', wholeNumber)
    .option('--max-budget <usd>', 'no further model call once so much is spent', amount)
    .option('--time-limit <duration>', 'end after 90s, 5m, 1h30m', durationMs)
    .option('--stall-after <duration>', 'say so after so long a silence', durationMs)
    .option('--session <id>', 'go on with an earlier conversation')
    .option('--workspace <name>', 'a named workspace in place of the current directory')
    .option('--fresh', 'a fresh workspace in place of the current directory')
    .option('--dir <directory>', 'another directory in place of the current one')
    .option('-e, --env <NAME=VALUE>', 'a variable for the run; may be repeated', pair)
    .option('--mcp-config <file>', 'MCP servers, as claude takes them')
    .option('--no-partial', 'no text as it streams')
    .option('--metadata <NAME=VALUE>', 'kept with the execution; may be repeated', pair)
    .option('--idempotency-key <key>', 'the same key and request run once')
    .option('--retry <n>', 'attempts more after a passing failure, in a fresh workspace', wholeNumber)
    .option('--json', 'print the events as NDJSON on stdout')
    .option('-q, --quiet', 'print the final answer alone')
    .addHelpText(
      'after',
      '\nExamples:\n  cc-executor run "fix the failing test" --allow "Bash(npm test),Read,Edit"\n' +
        '  git diff | cc-executor run "review this change" --time-limit 5m\n' +
        '  cc-executor run "name the languages used here" --schema languages.json > answer.json\n',
    )
    .action(async (argument: string | undefined, options: RunOptions) => {
      const prompt = await readPrompt(deps.terminal, { argument, file: options.promptFile });
      const request = await toRequest(prompt, options);
      const elsewhere =
        options.fresh === true ||
        options.workspace !== undefined ||
        (options.session !== undefined && options.dir === undefined);
      const client = await deps.openClient(elsewhere ? undefined : resolve(options.dir ?? deps.directory));
      deps.exit(await follow(deps, client, { ...options, start: () => client.execute(request) }));
    });
}

async function toRequest(prompt: string, options: RunOptions): Promise<ExecutionRequestInput> {
  const [system, appendSystem] = await Promise.all([
    textOption(options.system, options.systemFile, '--system-file'),
    textOption(options.appendSystem, options.appendSystemFile, '--append-system-file'),
  ]);
  const mcp = options.mcpConfig === undefined ? undefined : await jsonOption(options.mcpConfig, '--mcp-config');
  const request = {
    prompt,
    cancelOnDisconnect: true,
    partialMessages: options.partial,
    model: options.model,
    fallbackModel: options.fallbackModel,
    allowedTools: options.allow,
    disallowedTools: options.deny,
    tools: options.tools,
    permissionMode: options.permissionMode,
    systemPrompt: system,
    appendSystemPrompt: appendSystem,
    outputSchema: options.schema === undefined ? undefined : await jsonOption(options.schema, '--schema'),
    repairTurns: options.repairTurns,
    maxTurns: options.maxTurns,
    maxBudgetUsd: options.maxBudget,
    timeLimitMs: options.timeLimit,
    stallAfterMs: options.stallAfter,
    sessionId: options.session,
    workspace: options.workspace,
    env: options.env,
    mcpServers: serversOf(mcp),
    metadata: options.metadata,
    idempotencyKey: options.idempotencyKey,
    retry: options.retry === undefined ? undefined : { max: options.retry },
  };
  const given = Object.entries(request).filter(([, value]) => value !== undefined);
  // The service checks every field; what is left out here was not given.
  return Object.fromEntries(given) as ExecutionRequestInput;
}

async function textOption(
  text: string | undefined,
  file: string | undefined,
  option: string,
): Promise<string | undefined> {
  return file === undefined ? text : readNamedFile(file, option);
}

async function jsonOption(file: string, option: string): Promise<Record<string, unknown>> {
  const text = await readNamedFile(file, option);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ServiceError(
      'invalid_request',
      `${option} ${file} is not JSON: ${cause instanceof Error ? cause.message : ''}`,
      { cause },
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ServiceError('invalid_request', `${option} ${file} is no JSON object`);
  }
  return { ...value };
}

function serversOf(mcp: Record<string, unknown> | undefined): unknown {
  return mcp !== undefined && 'mcpServers' in mcp ? mcp.mcpServers : mcp;
}
