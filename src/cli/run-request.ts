import { type Issue, ServiceError } from '../protocol/errors.ts';
import type { ExecutionRequestInput } from '../protocol/execution-request.ts';
import { readNamedFile } from './read-prompt.ts';
import type { RunOptions } from './run.ts';

/** The request that the options of `run` ask for. */
export async function toRequest(prompt: string, options: RunOptions): Promise<ExecutionRequestInput> {
  const [system, appendSystem] = await Promise.all([
    textOption(options.system, options.systemFile, '--system-file'),
    textOption(options.appendSystem, options.appendSystemFile, '--append-system-file'),
  ]);
  const mcp = options.mcpConfig === undefined ? undefined : await jsonOption(options.mcpConfig, '--mcp-config');
  const request = {
    prompt,
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
    egress: options.egress,
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

/** Which option stands for a field of the request, where their names differ by more than their spelling. */
const OPTIONS: Readonly<Record<string, string>> = {
  allowedTools: '--allow',
  disallowedTools: '--deny',
  systemPrompt: '--system',
  appendSystemPrompt: '--append-system',
  outputSchema: '--schema',
  timeLimitMs: '--time-limit',
  stallAfterMs: '--stall-after',
  sessionId: '--session',
  mcpServers: '--mcp-config',
  maxBudgetUsd: '--max-budget',
  workspace: '--dir or --workspace',
};

/** Tells a refused request in the words of the command line. Always throws. */
export function nameOptions(error: unknown): never {
  if (!(error instanceof ServiceError) || error.data.errors === undefined) throw error;
  const { data, code } = error;
  const detail = error.data.errors.map(({ path, message }: Issue) => `${optionOf(path)} ${message}`.trim());
  throw new ServiceError(code, detail.join('\n'), { cause: error, data });
}

function optionOf(path: string): string {
  const [field = '', ...inner] = path.split('.');
  if (field === 'prompt') return 'The prompt';
  const kebab = `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const option = OPTIONS[field] ?? kebab;
  return inner.length === 0 ? option : `${option} (${inner.join('.')})`;
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
