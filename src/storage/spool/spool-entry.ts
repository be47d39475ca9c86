import { z } from 'zod';
import { type EventType, isEventType } from '../../protocol/events.ts';
import { ExecutionDocument } from '../../protocol/execution-document.ts';
import type { Append } from '../storage.ts';

const Entry = z.object({
  fence: z.int(),
  events: z.array(
    z.object({
      seq: z.int(),
      type: z.custom<EventType>((value) => typeof value === 'string' && isEventType(value)),
      bytes: z.string(),
    }),
  ),
  execution: ExecutionDocument.optional(),
});

/** An append as one line of JSON with its line feed. The file that holds it says whose it is. */
export function encodeEntry({ fence, events, execution }: Append): Buffer {
  return Buffer.from(`${JSON.stringify({ fence, events, execution })}\n`);
}

/** `undefined` for a line that is no entry. */
export function decodeEntry(executionId: string, line: Buffer): Append | undefined {
  const { data } = Entry.safeParse(jsonOf(line));
  if (data === undefined) return undefined;
  const { fence, events, execution } = data;
  return { executionId, fence, events, ...(execution && { execution }) };
}

function jsonOf(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString());
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
