import type { Logger } from 'pino';
import pino from 'pino';
import { redactor } from './redact.ts';

/** Names under which no value is written, whatever its shape. */
const NAMES = ['prompt', 'token', 'secret', 'apiKey', 'password', 'authorization', '*.authorization'];
const REDACTED_PATHS = [...NAMES, '*["x-api-key"]', '*.token'];

/**
 * The service's log: JSON lines on stderr, so that stdout stays the program's answer. Prompts, outputs and credentials are
 * never given to it; the redaction is a second net. It looks at each line as it is written, so that a secret is found at
 * any depth, in errors and in their causes.
 * @param secrets values of the configuration that are to be found whatever their shape
 */
export function createLogger(
  level: string,
  { secrets = [], destination }: { secrets?: readonly string[]; destination?: pino.DestinationStream } = {},
): Logger {
  return pino(
    {
      level,
      redact: REDACTED_PATHS,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      hooks: { streamWrite: redactor(secrets) },
    },
    destination ?? pino.destination({ fd: 2, sync: true }),
  );
}
