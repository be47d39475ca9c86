import { z } from 'zod';
import { EgressEntry, MAX_EGRESS_ENTRIES } from './egress-rule.ts';
import { ServiceError } from './errors.ts';
import { parseInput } from './parse-input.ts';
import { Uuid } from './uuid.ts';

/** 4 MiB, counted in UTF-8 bytes. */
export const MAX_PROMPT_BYTES = 4 * 1024 * 1024;
export const MAX_SYSTEM_PROMPT_BYTES = 1024 * 1024;
const MAX_SCHEMA_BYTES = 256 * 1024;

/** Names a request may not set in the run's environment: they steer the CLI, the loader or the interpreters. */
const STEERING_ENV =
  /^(ANTHROPIC_|CLAUDE|CC_|LD_|DYLD_|AWS_|GOOGLE_|NODE_|NPM_CONFIG_|GIT_(EXEC|SSH|CONFIG|PROXY)|BUN_|PYTHON(STARTUP|PATH|HOME)$|PERL|RUBYOPT$|BASH_ENV$|ENV$|IFS$|PATH$|HOME$|SHELL$|USER$|TMPDIR$|SHELLOPTS$|BASHOPTS$|PROMPT_COMMAND$|GCONV_PATH$|LOCPATH$|MALLOC_|GLIBC_|IS_SANDBOX$|DISABLE_|(HTTPS?|ALL|NO)_PROXY$)/i;

function text(options: { maxBytes: number; what: string }) {
  return z
    .string()
    .min(1, { error: `is empty; give the ${options.what} as text` })
    .superRefine((value, context) => {
      const bytes = Buffer.byteLength(value);
      if (bytes > options.maxBytes) {
        context.addIssue({ code: 'custom', message: `is ${bytes} bytes long; at most ${options.maxBytes} are taken` });
      }
      const nul = value.indexOf('\0');
      if (nul !== -1) {
        context.addIssue({ code: 'custom', message: `holds a NUL character at position ${nul}; is it binary data?` });
      }
      if (!value.isWellFormed()) {
        context.addIssue({ code: 'custom', message: 'holds a lone surrogate; it is not valid Unicode text' });
      }
    });
}

/** A user turn: the prompt, or what is said after it. */
export const TurnText = text({ maxBytes: MAX_PROMPT_BYTES, what: 'text' });

const Model = z.string().regex(/^[A-Za-z0-9][\w.:@/[\]-]{0,199}$/, {
  error: 'is not a model name; use an alias such as sonnet or a full name such as claude-sonnet-5-5',
});

/** A tool name or a permission rule such as `Bash(git status *)`. Never starts with a dash, so it is never a flag. */
const ToolRule = z.string().regex(/^[A-Za-z][^\p{Cc}]{0,999}$/u, {
  error: 'is not a tool name or rule; use Read or Bash(git status *)',
});
const ToolRules = z.array(ToolRule).max(200);

const EnvName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, { error: 'is not the name of an environment variable' })
  .refine((name) => !STEERING_ENV.test(name), {
    error: 'is refused: it steers Claude Code, the loader or an interpreter',
  });
const EnvValue = z
  .string()
  .max(32_768)
  .refine((value) => !value.includes('\0'), { error: 'holds a NUL character' });

const JsonObject = z.record(z.string(), z.unknown());

/** A workspace the tenant names, or one the operator lends (`lent:name`). */
export const WorkspaceName = z.string().regex(/^(lent:)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
  error: 'is not a workspace name; use letters, digits, dot, dash and underscore, at most 64',
});

const Milliseconds = z
  .int()
  .min(1)
  .max(30 * 24 * 3600 * 1000);

/**
 * What a caller asks for: the POST body, the JSON-RPC params and the MCP arguments are this one schema. Unknown keys
 * are refused with their path.
 */
export const ExecutionRequest = z.strictObject({
  prompt: text({ maxBytes: MAX_PROMPT_BYTES, what: 'prompt' }),
  sessionId: Uuid.optional(),
  workspace: WorkspaceName.optional(),
  model: Model.optional(),
  fallbackModel: Model.optional(),
  maxTurns: z.int().min(1).max(10_000).optional(),
  maxBudgetUsd: z.number().positive().max(100_000).optional(),
  systemPrompt: text({ maxBytes: MAX_SYSTEM_PROMPT_BYTES, what: 'system prompt' }).optional(),
  appendSystemPrompt: text({ maxBytes: MAX_SYSTEM_PROMPT_BYTES, what: 'system prompt' }).optional(),
  tools: ToolRules.optional(),
  allowedTools: ToolRules.optional(),
  disallowedTools: ToolRules.optional(),
  permissionMode: z.enum(['default', 'acceptEdits', 'plan', 'dontAsk', 'bypassPermissions']).default('default'),
  approvals: z.enum(['deny', 'ask']).default('deny'),
  mcpServers: z.record(z.string().regex(/^[A-Za-z0-9_-]{1,64}$/), JsonObject).optional(),
  outputSchema: JsonObject.refine((schema) => Buffer.byteLength(JSON.stringify(schema)) <= MAX_SCHEMA_BYTES, {
    error: `is longer than ${MAX_SCHEMA_BYTES} bytes`,
  }).optional(),
  env: z.record(EnvName, EnvValue).optional(),
  timeLimitMs: Milliseconds.optional(),
  stallAfterMs: Milliseconds.optional(),
  partialMessages: z.boolean().default(true),
  checks: z.array(JsonObject).optional(),
  retry: z.strictObject({ max: z.int().min(0).max(10) }).optional(),
  priority: z.int().min(0).max(100).default(50),
  cancelOnDisconnect: z.boolean().default(false),
  egress: z.array(EgressEntry).max(MAX_EGRESS_ENTRIES).optional(),
  repairTurns: z.int().min(0).max(5).default(1),
  idempotencyKey: z.string().min(1).max(255).optional(),
  projectSettings: z.boolean().default(false),
  metadata: z
    .record(z.string().min(1).max(64), z.string().max(1024))
    .refine((value) => Object.keys(value).length <= 16, { error: 'has more than 16 entries' })
    .optional(),
});
export type ExecutionRequest = z.infer<typeof ExecutionRequest>;
export type ExecutionRequestInput = z.input<typeof ExecutionRequest>;

/**
 * Parses and completes a request.
 * @throws ServiceError `invalid_request` naming every wrong field with its path; `not_implemented` for a field whose
 * capability is not built yet, so that it is never silently ignored.
 */
export function parseExecutionRequest(input: unknown): ExecutionRequest {
  const request = parseInput(ExecutionRequest, input);
  const unbuilt = [request.checks !== undefined && 'checks', request.approvals === 'ask' && 'approvals: ask'].filter(
    (field) => field !== false,
  );
  if (unbuilt.length > 0) {
    throw new ServiceError('not_implemented', `${unbuilt.join(', ')}: not built yet; leave it out of the request`);
  }
  return request;
}
