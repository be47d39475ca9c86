import type { Stop } from '../claude/outcome.ts';
import { type ClaudeProcess, LineTooLongError } from '../claude/process.ts';
import type { Conversation } from './conversation.ts';
import type { LiveExecution } from './live-execution.ts';
import type { RunContext } from './run-context.ts';

/**
 * Reads stdout to its end with back-pressure. Past a cap or with no storage, lines are still read but not kept.
 * @returns whether there was any line
 */
export async function readLines(
  context: RunContext,
  { live, claude, conversation }: { live: LiveExecution; claude: ClaudeProcess; conversation: Conversation },
): Promise<boolean> {
  const { maxLineBytes, maxLogBytes } = context.settings;
  let heard = false;
  try {
    for await (const lines of claude.batches) {
      heard = true;
      live.touch();
      for (const line of lines) conversation.line(line, canStore(context, live));
      if (live.writer.appendedBytes > maxLogBytes) {
        live.requestStop(tooLarge(`The run printed more than ${maxLogBytes} bytes of events.`));
      }
      await drained(live);
    }
  } catch (error) {
    if (!(error instanceof LineTooLongError)) throw error;
    live.requestStop(
      tooLarge(`Claude printed a line of more than ${maxLineBytes} bytes. Everything before it is kept.`),
    );
  }
  return heard;
}

function tooLarge(text: string): Stop {
  return { kind: 'failed', reason: 'output_too_large', text };
}

/** Whether the log still takes what the run says. */
export function canStore({ settings }: RunContext, { stop, writer }: LiveExecution): boolean {
  return stop?.reason !== 'storage_full' && writer.appendedBytes <= settings.maxLogBytes;
}

/** Waits while too much is queued for the storage; a storage that fails is reported through `onFailure`. */
async function drained(live: LiveExecution): Promise<void> {
  if (live.stop?.reason === 'storage_full') return;
  await Promise.race([live.writer.drained().catch(() => {}), live.storageFailed]);
}
