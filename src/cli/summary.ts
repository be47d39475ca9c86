import type { Execution } from '../protocol/execution.ts';
import type { CommandDeps } from './command-deps.ts';
import { dollars, duration, printable, styled } from './terminal.ts';

/**
 * The lines at the end of a run: how it ended, what it took, how to read it back.
 * @param pasted what stands behind the commands in it, so that they find the same service
 */
export function summary(
  { terminal, invocation }: Pick<CommandDeps, 'terminal' | 'invocation'>,
  execution: Execution,
  pasted: string,
): string {
  const { outcome, result, id, sessionId, denials } = execution;
  const good = outcome?.kind === 'succeeded';
  const head =
    outcome === null
      ? execution.state
      : [outcome.kind, ...(outcome.reason === null ? [] : [outcome.reason])].join(': ');
  const lines = [styled(terminal, good ? 'green' : outcome === null ? 'yellow' : 'red', head)];
  if (outcome?.message != null) lines.push(printable(outcome.message));
  if (denials.length > 0) {
    const names = [...new Set(denials.map(({ name }) => name))].join(', ');
    lines.push(printable(`denied: ${names}; allow a tool with --allow NAME`));
  }
  const { startedAt, finishedAt } = execution;
  const took =
    startedAt === null || finishedAt === null ? [] : [duration(Date.parse(finishedAt) - Date.parse(startedAt))];
  if (result !== null) {
    const { usage, turns } = result;
    const read = usage.inputTokens + usage.cacheReadTokens + usage.cacheCreationTokens;
    took.push(
      `${turns} turn${turns === 1 ? '' : 's'}`,
      `${read} tokens in, ${usage.outputTokens} out`,
      dollars(usage.costUsd),
    );
  }
  lines.push(took.join(' · '));
  lines.push(styled(terminal, 'dim', `read it back: ${invocation} show ${id}${pasted}`));
  if (good && sessionId !== null)
    lines.push(styled(terminal, 'dim', `go on with it: ${invocation} run --session ${sessionId} "…"${pasted}`));
  return `${lines.filter((line) => line !== '').join('\n')}\n`;
}
