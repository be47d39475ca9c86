import { join } from 'node:path';
import { RUN_MARKER } from '../isolation/marker-sweep.ts';
import type { ExecutionRequest } from '../protocol/execution-request.ts';

/** The directories of one run; see docs/operations.md, "The data folder". */
export interface RunDirectories {
  /** Where the run works. */
  workspace: string;
  /** HOME of the run. */
  home: string;
  /** Temporary files; removed with the run. */
  temp: string;
  /** CLAUDE_CONFIG_DIR: transcript and settings of the session. */
  config: string;
  /** 0600 files with options that must not show in a process list. */
  options: string;
}

export interface ClaudeCommand {
  file: string;
  args: string[];
  env: Record<string, string>;
  cwd: string;
}

export interface CommandInputs {
  binary: string;
  request: ExecutionRequest;
  model: string;
  /** `claimed`: it waits in its folder until `claimMessage` names the one to work in. */
  session: { id: string; resume: boolean; claimed?: boolean };
  directories: RunDirectories;
  /** Marks the run's processes, see `RUN_MARKER`. */
  runId: string;
  gateway: { baseUrl: string; token: string; credentialKind: 'api_key' | 'max' };
  inherited: Readonly<Record<string, string>>;
}

/**
 * Tools that outlive a run, wake it later, or talk to other sessions; measured with 2.1.330. The run ends with its
 * answer, so they could only mislead.
 */
const UNFIT_TOOLS = [
  'SendMessage',
  'ListAgents',
  'ScheduleWakeup',
  'CronCreate',
  'CronDelete',
  'CronList',
  'Workflow',
  'EnterWorktree',
  'ExitWorktree',
];

/** The file that `--mcp-config` names, inside the run's options folder. */
export function mcpConfigPath(directories: RunDirectories): string {
  return join(directories.options, 'mcp.json');
}

/**
 * The command line and environment of one run. Pure. The prompt, system prompts and schemas are not in it: they go
 * through stdin, because arguments show in process lists, are limited to 128 KiB each, and a prompt such as
 * `--version` would be taken for an option.
 */
export function claudeCommand(inputs: CommandInputs): ClaudeCommand {
  return {
    file: inputs.binary,
    args: claudeArguments(inputs),
    env: claudeEnvironment(inputs),
    cwd: inputs.directories.workspace,
  };
}

function claudeArguments({ request, model, session, directories }: CommandInputs): string[] {
  return [
    ...optionArguments(request, model),
    ...(request.mcpServers === undefined ? [] : [`--mcp-config=${mcpConfigPath(directories)}`]),
    session.resume ? `--resume=${session.id}` : `--session-id=${session.id}`,
    ...(session.claimed ? ['--await-claim'] : []),
  ];
}

/** The arguments that are the same for every run with the same options, whatever its session and its folders. */
export function optionArguments(request: ExecutionRequest, model: string): string[] {
  const list = (flag: string, values: readonly string[] | undefined): string[] =>
    values === undefined || values.length === 0 ? [] : [flag, ...values];
  return [
    '--input-format=stream-json',
    '--output-format=stream-json',
    '--verbose',
    ...(request.partialMessages ? ['--include-partial-messages'] : []),
    `--model=${model}`,
    ...(request.fallbackModel === undefined ? [] : [`--fallback-model=${request.fallbackModel}`]),
    `--permission-mode=${request.permissionMode}`,
    // Hooks, servers and addresses of a workspace are programs of whoever wrote it.
    ...(request.projectSettings ? ['--setting-sources=project,local'] : ['--setting-sources=', '--strict-mcp-config']),
    ...(request.maxTurns === undefined ? [] : [`--max-turns=${request.maxTurns}`]),
    ...(request.maxBudgetUsd === undefined ? [] : [`--max-budget-usd=${request.maxBudgetUsd}`]),
    ...(request.tools === undefined ? [] : [`--tools=${request.tools.join(',')}`]),
    ...list('--allowedTools', request.allowedTools),
    ...list('--disallowedTools', [...UNFIT_TOOLS, ...(request.disallowedTools ?? [])]),
  ];
}

function claudeEnvironment({ request, directories, runId, gateway, inherited }: CommandInputs): Record<string, string> {
  return {
    ...inherited,
    ...request.env,
    HOME: directories.home,
    TMPDIR: directories.temp,
    CLAUDE_CODE_TMPDIR: directories.temp,
    CLAUDE_CONFIG_DIR: directories.config,
    DISABLE_AUTOUPDATER: '1',
    DISABLE_TELEMETRY: '1',
    DISABLE_ERROR_REPORTING: '1',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: '1',
    CLAUDE_CODE_MAX_RETRIES: '3',
    CLAUDE_CODE_STARTUP_FAILURE_RESULTS: '1',
    CLAUDE_CODE_STREAM_EVENT_HOLD_MS: '30',
    ANTHROPIC_BASE_URL: gateway.baseUrl,
    [gateway.credentialKind === 'api_key' ? 'ANTHROPIC_API_KEY' : 'CLAUDE_CODE_OAUTH_TOKEN']: gateway.token,
    [RUN_MARKER]: runId,
  };
}

/**
 * The first line on stdin: options that are too long or too secret for the command line.
 * @param jsonSchema the schema the CLI is to hold the answer to, see `schemaForCli`
 */
export function initializeMessage(request: ExecutionRequest, jsonSchema: object | undefined): object {
  return {
    type: 'control_request',
    request_id: 'initialize',
    request: {
      subtype: 'initialize',
      ...(request.systemPrompt === undefined ? {} : { systemPrompt: request.systemPrompt }),
      ...(request.appendSystemPrompt === undefined ? {} : { appendSystemPrompt: request.appendSystemPrompt }),
      ...(jsonSchema === undefined ? {} : { jsonSchema }),
    },
  };
}

/**
 * Makes a process that was started with `--await-claim` work in a folder. It answers with the status `ok`, or refuses
 * (2.1.330; the option is hidden from `--help` and may change).
 */
export function claimMessage(folder: string): object {
  return {
    type: 'control_request',
    request_id: 'claim',
    request: { subtype: 'claim_session', cwd: folder, include_initialize: false },
  };
}

/**
 * A user turn. `client_composed` makes the text literal: no `@file` is attached and no `/command` runs. The result of the
 * turn names `uuid` among its `user_message_uuids` (2.1.330).
 */
export function userMessage(text: string, uuid: string): object {
  return {
    type: 'user',
    uuid,
    message: { role: 'user', content: [{ type: 'text', text }] },
    parent_tool_use_id: null,
    session_id: '',
    client_composed: true,
  };
}

/** Stops the current turn and drops queued ones; the CLI answers with a `result` and lives on. */
export const INTERRUPT_MESSAGE: object = {
  type: 'control_request',
  request_id: 'interrupt',
  request: { subtype: 'interrupt', cancel_queued: true },
};
