import { Writable } from 'node:stream';
import type { Logger } from 'pino';
import { createLogger } from '../../src/observability/logger.ts';

/** A log at its most talkative level whose lines are kept in memory. */
export function recordedLog(secrets: readonly string[] = []): { logger: Logger; text(): string } {
  let text = '';
  const destination = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  return { logger: createLogger('trace', { secrets, destination }), text: () => text };
}
