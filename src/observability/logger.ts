import type { Logger } from 'pino';
import pino from 'pino';

/**
 * The service's log: JSON lines on stderr, so that stdout stays the program's answer. Prompts, outputs and
 * credentials are never given to it; the redaction is a second net.
 */
export function createLogger(level: string): Logger {
  const redact = [
    'prompt',
    'token',
    'secret',
    'apiKey',
    'authorization',
    '*.authorization',
    '*["x-api-key"]',
    '*.token',
  ];
  return pino(
    { level, redact, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
}
