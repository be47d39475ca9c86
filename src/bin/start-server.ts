import type { RunningServer } from '../cli/command-deps.ts';
import type { Config } from '../config.ts';
import { createLogger } from '../observability/logger.ts';
import { openServer } from '../server/server.ts';

/** Opens the doors; `ended` is 0 when everything was closed in order, and 1 when a part could not be. */
export async function startServer(
  config: Config,
  options: { host?: string; port?: number; version: string },
): Promise<RunningServer> {
  const { version, ...address } = options;
  const logger = createLogger(config.logLevel);
  const server = await openServer({ ...config, server: { ...config.server, ...address } }, { logger, version });
  const ended = server.ended.then(
    () => 0,
    (error: unknown) => {
      logger.error({ err: error }, 'the service did not end in order');
      return 1;
    },
  );
  return { lines: server.lines, ended, stop: server.stop };
}
