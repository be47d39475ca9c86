import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';

export const CLAUDE_BIN = join(import.meta.dirname, '../../node_modules/@anthropic-ai/claude-code-linux-x64/claude');

const Line = z.looseObject({ type: z.string() });
export type ClaudeLine = z.infer<typeof Line>;

const Result = z.looseObject({
  type: z.literal('result'),
  is_error: z.boolean(),
  result: z.string().optional(),
  api_error_status: z.number().nullish(),
  total_cost_usd: z.number(),
  modelUsage: z.record(z.string(), z.looseObject({ costUSD: z.number() })),
});
export type ClaudeResult = z.infer<typeof Result>;

export interface ClaudeRun {
  lines: ClaudeLine[];
  /** The `result` lines; their costs are cumulative over the process. */
  results: ClaudeResult[];
  exitCode: number | null;
  stderr: string;
}

/** The clean environment of a CLI that works in `directory`, without any credential. */
export function claudeEnv(directory: string): Record<string, string> {
  return {
    HOME: directory,
    PATH: '/usr/local/bin:/usr/bin:/bin',
    LANG: 'C.UTF-8',
    CLAUDE_CONFIG_DIR: join(directory, 'config'),
    CLAUDE_CODE_TMPDIR: directory,
    TMPDIR: directory,
    DISABLE_AUTOUPDATER: '1',
    DISABLE_TELEMETRY: '1',
    DISABLE_ERROR_REPORTING: '1',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: '1',
    CLAUDE_CODE_MAX_RETRIES: '3',
    CLAUDE_CODE_STARTUP_FAILURE_RESULTS: '1',
  };
}

/**
 * Runs the real CLI in a temporary directory until it exits and returns what it printed. Every prompt is written when
 * the one before has its result, because the CLI joins prompts that wait together. It is killed after
 * `limitMs`, and its directory is removed.
 * @param options.env the credential and the base URL, added to a clean environment
 */
export async function runClaude(options: {
  prompts: readonly string[];
  env: Record<string, string>;
  model?: string;
  flags?: readonly string[];
  limitMs?: number;
}): Promise<ClaudeRun> {
  const directory = await mkdtemp(join(tmpdir(), 'cc-claude-'));
  try {
    return await collect(directory, options);
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function collect(directory: string, options: Parameters<typeof runClaude>[0]): Promise<ClaudeRun> {
  const args = [
    ...['--input-format', 'stream-json', '--output-format', 'stream-json', '--verbose', '--strict-mcp-config'],
    ...['--setting-sources', '', '--tools', 'Bash,Read,Edit,Write', '--disable-slash-commands'],
    ...['--model', options.model ?? 'sonnet', ...(options.flags ?? [])],
  ];
  const child = spawn(CLAUDE_BIN, args, { cwd: directory, env: { ...claudeEnv(directory), ...options.env } });
  const closed = once(child, 'close');
  const limit = setTimeout(() => child.kill('SIGKILL'), options.limitMs ?? 40_000);
  const run: ClaudeRun = { lines: [], results: [], exitCode: null, stderr: '' };
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    run.stderr += chunk;
  });
  const prompts = [...options.prompts];
  const sendNext = (): void => {
    const prompt = prompts.shift();
    if (prompt === undefined) {
      child.stdin.end();
    } else {
      child.stdin.write(`${JSON.stringify(userLine(prompt))}\n`);
    }
  };
  child.stdin.on('error', ignoreClosedPipe);
  sendNext();
  for await (const text of createInterface({ input: child.stdout })) {
    const line = Line.parse(JSON.parse(text));
    run.lines.push(line);
    if (line.type === 'result') {
      run.results.push(Result.parse(line));
      sendNext();
    }
  }
  await closed;
  clearTimeout(limit);
  return { ...run, exitCode: child.exitCode };
}

/** The CLI may be gone before it has read everything; its exit says why. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') {
    throw error;
  }
}

function userLine(text: string): Record<string, unknown> {
  return {
    type: 'user',
    message: { role: 'user', content: [{ type: 'text', text }] },
    parent_tool_use_id: null,
    session_id: '',
    client_composed: true,
  };
}
