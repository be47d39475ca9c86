import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { Service } from '../service.ts';
import { removeServerFile } from './server-file.ts';

/** What is still being answered when everything else is closed gets so long, in ms. */
const LAST_ANSWERS_MS = 5_000;

export interface Parts {
  /** As in the server file. */
  id: string;
  service: Service;
  app: FastifyInstance;
  config: Config;
  logger: Logger;
  draining: AbortController;
  closing: AbortController;
  force: AbortController;
}

/** The phases of an orderly end, each logged. A phase that fails does not keep the later ones from happening. */
export async function shutDown({ id, service, app, config, logger, draining, closing, force }: Parts): Promise<void> {
  const { executions } = service;
  const failures: unknown[] = [];
  const phase = async (name: string, act: () => Promise<unknown>): Promise<void> => {
    const began = performance.now();
    logger.info({ phase: name, ...executions.load() }, 'shutting down');
    await act().catch((error: unknown) => failures.push(error));
    logger.info({ phase: name, ms: Math.round(performance.now() - began) }, 'done');
  };
  const limit = AbortSignal.any([force.signal, AbortSignal.timeout(config.server.drainMs)]);
  await phase('not ready', async () => draining.abort());
  await phase('runs end by themselves', () => executions.drain(limit));
  await phase('runs are ended', () => executions.close({ force: force.signal.aborted, keepWaiting: true }));
  await phase('readers are told where to go on', async () => closing.abort());
  await phase('doors', () => closeDoors(app, LAST_ANSWERS_MS));
  await phase('store', async () => {
    await removeServerFile(config.dataDirectory, id);
    await service.close({ force: true, keepWaiting: true });
  });
  if (failures.length > 0) throw new AggregateError(failures, 'Parts of the service could not be closed');
}

/** Resolves when all connections are closed; what is still being answered after `answersMs` is broken off. */
export async function closeDoors(app: FastifyInstance, answersMs: number): Promise<void> {
  const late = setTimeout(() => app.server.closeAllConnections(), answersMs);
  try {
    await app.close();
  } finally {
    clearTimeout(late);
  }
}
