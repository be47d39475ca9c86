import { constants } from 'node:os';
import { z } from 'zod';

/** One line of the launcher's status pipe (fd 3); `signal` is a number there. */
const StatusLine = z.discriminatedUnion('event', [
  z.object({ event: z.literal('started'), pid: z.int().positive() }),
  z.object({ event: z.literal('paused') }),
  z.object({ event: z.literal('resumed') }),
  z.object({ event: z.literal('failed'), errno: z.string(), error: z.string() }),
  z.object({
    event: z.literal('exited'),
    code: z.int().nullable(),
    signal: z.int().nullable(),
    swept: z.int(),
    left: z.int(),
  }),
]);
const StatusText = z
  .string()
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: String(error) });
      return z.NEVER;
    }
  })
  .pipe(StatusLine);
export type LauncherStatus = z.infer<typeof StatusLine>;

/** `undefined` for a line that is none of the launcher's, such as one cut short by its death. */
export function parseStatus(line: string): LauncherStatus | undefined {
  return StatusText.safeParse(line).data;
}

/** `SIGKILL` for 9; `SIG<n>` for a number without a name (real-time signals). */
export function signalName(number: number): string {
  const named = Object.entries(constants.signals).find(([, value]) => value === number);
  return named?.[0] ?? `SIG${number}`;
}
