import type { KnownMessage, ResultMessage } from './messages.ts';
import { resetTime } from './translate.ts';

/** What one process said that decides its outcome. */
export interface Observed {
  version: string | undefined;
  sessionId: string | undefined;
  /** The last `result` line. */
  result: ResultMessage | undefined;
  /** The kind of error of the last assistant line, such as `authentication_failed`. */
  assistantError: string | undefined;
  /** A usage limit was hit; its reset time when the CLI told it. */
  usageLimit: { resetAt: string | null } | undefined;
  denials: { toolUseId: string; name: string }[];
  /** Of all results together; `durationMs` in ms. */
  turns: number;
  durationMs: number;
}

export function nothingObserved(): Observed {
  return {
    version: undefined,
    sessionId: undefined,
    result: undefined,
    assistantError: undefined,
    usageLimit: undefined,
    denials: [],
    turns: 0,
    durationMs: 0,
  };
}

/** Notes what a line says. The newest word counts: an error that a later answer followed is forgotten. */
export function observe(observed: Observed, message: KnownMessage): void {
  switch (message.type) {
    case 'system':
      if (message.subtype === 'init') {
        observed.version = message.claude_code_version;
        observed.sessionId = message.session_id;
      }
      break;
    case 'assistant':
      if (message.parent_tool_use_id == null) observed.assistantError = message.error ?? undefined;
      break;
    case 'rate_limit_event':
      observed.usageLimit =
        message.rate_limit_info.status === 'rejected'
          ? { resetAt: resetTime(message.rate_limit_info.resetsAt) }
          : undefined;
      break;
    case 'result':
      observed.result = message;
      observed.turns += message.num_turns;
      observed.durationMs += message.duration_ms;
      observed.denials = message.permission_denials.map(({ tool_use_id, tool_name }) => ({
        toolUseId: tool_use_id,
        name: tool_name,
      }));
      break;
    default:
      break;
  }
}
