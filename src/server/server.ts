import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { keyFile } from '../auth/key-file.ts';
import { createKeyRing } from '../auth/key-ring.ts';
import { WrongKeys } from '../auth/wrong-keys.ts';
import type { Config } from '../config.ts';
import { auditedExecutions } from '../executions/audited-executions.ts';
import { quotasOf, takeBytes } from '../executions/quotas.ts';
import { workspaceFolder } from '../executions/run-directories.ts';
import { ServiceError } from '../protocol/errors.ts';
import { HTTP_ROUTES, type RouteName } from '../protocol/http-routes.ts';
import { newId } from '../protocol/ids.ts';
import { openApi } from '../protocol/openapi.ts';
import { openRpc } from '../protocol/openrpc.ts';
import { createService } from '../service.ts';
import { openDoorProblem } from '../setting-conflicts.ts';
import type { Door } from '../transport/door.ts';
import { createHttpDoor } from '../transport/http/http-door.ts';
import { registerWebSocket } from '../transport/websocket/plugin.ts';
import { createWorkspaces } from '../workspaces/workspaces.ts';
import { healthOf } from './health.ts';
import { openCallers } from './open-callers.ts';
import { writeServerFile } from './server-file.ts';
import { shutDown } from './shut-down.ts';
import { endingLine, startupLines } from './startup-lines.ts';

/** A worker is asked by the queue; its port says how it is, and nothing else. */
const WORKER_ROUTES: readonly RouteName[] = ['root', 'health', 'live', 'ready'];
const ALL_ROUTES = Object.keys(HTTP_ROUTES) as RouteName[];

/** A service that listens. */
export interface Server {
  url: string;
  /** What the operator is told. */
  lines: string[];
  /**
   * Begins the end: takes nothing new, lets runs end for up to `CC_DRAIN_MS`, then ends them; `force`, also later,
   * ends them at once. What waits stays in the store for the next start. Returns what the operator is told.
   */
  stop(options: { force: boolean }): string;
  /** Resolves when everything is closed; rejects when a part could not be. */
  ended: Promise<void>;
}

/**
 * Starts the service and opens its doors.
 * @throws ServiceError `address_unusable`, and those of `createService`
 */
export async function openServer(config: Config, options: { logger: Logger; version: string }): Promise<Server> {
  const { logger, version } = options;
  const exposed = config.auth.on ? undefined : openDoorProblem(config.server.host);
  if (exposed !== undefined) throw new ServiceError('address_unusable', exposed);
  // What others may have run here reaches nothing unless the operator says so.
  const service = await createService({ ...config, egress: config.egress ?? [] }, { logger });
  const [draining, closing, force] = [new AbortController(), new AbortController(), new AbortController()];
  let begun = false;
  let app: FastifyInstance | undefined;
  try {
    const { callers, keys } = await openCallers(config, { storage: service.storage, logger });
    const firstKey = config.role === 'worker' ? undefined : await keys.makeFirst(config.dataDirectory);
    const door: Door = {
      executions: auditedExecutions(service.executions, service.audit),
      audit: service.audit,
      readAudit: (options) => service.storage.readAudit(options),
      workspaces: createWorkspaces(workspacesOptions(config)),
      callers,
      keyRing: createKeyRing(service.storage),
      wrongKeys: new WrongKeys({
        limit: config.wrongKeyLimit,
        share: service.storage.countWrongKey?.bind(service.storage),
        onRefused: (address) => {
          logger.warn({ address }, 'too many wrong keys came from an address');
          void service.audit.record({ address }, { action: 'login.refused', outcome: 'too_many' });
        },
      }),
      takeBytes: (caller, bytes) => takeBytes({ storage: service.storage, settings: config }, caller, bytes),
      limitsBytes: (caller) => quotasOf(caller, config.limits).some(({ limits }) => limits.bytesPerDay !== undefined),
      logger,
      version,
      documents: { openApi: openApi(version), openRpc: openRpc(version) },
      health: healthOf(service, {
        version,
        role: config.role,
        phase: () => (draining.signal.aborted ? 'draining' : begun ? 'open' : 'starting'),
      }),
      allowedOrigins: config.server.allowedOrigins,
      open: !config.auth.on,
      draining: draining.signal,
      drainMs: config.server.drainMs,
      closing: closing.signal,
    };
    const http = await createHttpDoor(door, {
      ...config.server,
      routes: config.role === 'worker' ? WORKER_ROUTES : ALL_ROUTES,
    });
    app = http;
    if (config.role !== 'worker') await registerWebSocket(http, door);
    // First the address: a start that fails for want of it must not have taken up what others could run.
    const url = await listen(http, config.server);
    await service.begin({ adoptQueued: true });
    begun = true;
    const id = newId();
    if (config.role !== 'worker') await writeServerFile(config.dataDirectory, { url, pid: process.pid, id });
    if (config.role !== 'api') service.warm.open();
    const settings = config.settingNames.join(' ');
    await service.audit.record(
      {},
      { action: 'service.start', subject: id, detail: { version, role: config.role, settings } },
    );
    const stopping = Promise.withResolvers<void>();
    const ended = stopping.promise.then(() => {
      void service.audit.record({}, { action: 'service.stop', subject: id });
      return shutDown({ id, service, app: http, config, logger, draining, closing, force });
    });
    return {
      url,
      lines: startupLines({ service, config, url, version, firstKey, keyFile: keyFile(config.dataDirectory) }),
      ended,
      stop: (how) => {
        if (how.force) force.abort();
        stopping.resolve();
        return endingLine(service.executions.load(), { ...how, drainMs: config.server.drainMs });
      },
    };
  } catch (error) {
    await app?.close();
    await service.close({ force: true, keepWaiting: true });
    throw error;
  }
}

function workspacesOptions(config: Config): Parameters<typeof createWorkspaces>[0] {
  const asRoot = process.getuid?.() === 0;
  return {
    folderOf: (tenant, name) => workspaceFolder(config.dataDirectory, tenant, name),
    lent: config.lentWorkspaces,
    quotaBytes: config.workspaceQuotaBytes,
    owner: asRoot ? { uid: config.runUid, gid: config.runUid } : undefined,
  };
}

/** @returns the URL by which this machine reaches it */
async function listen(app: FastifyInstance, { host, port }: Config['server']): Promise<string> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const why = Object.hasOwn(NO_ADDRESS, code) ? NO_ADDRESS[code] : undefined;
    if (why === undefined) throw error;
    throw new ServiceError('address_unusable', `The service cannot listen on ${host}:${port}: ${why}`, {
      cause: error,
    });
  }
  const address = app.server.address();
  const bound = typeof address === 'object' ? address?.port : undefined;
  return `http://${REACHED_AT[host] ?? (host.includes(':') ? `[${host}]` : host)}:${bound ?? port}`;
}

const NO_ADDRESS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there; end it, or choose another port with CC_PORT',
  EACCES: 'this user may not listen on that port; choose one above 1023 with CC_PORT',
  EADDRNOTAVAIL: 'this machine does not have that address; see CC_HOST',
  ENOTFOUND: 'that name is not known; see CC_HOST',
};

/** Where a service that listens everywhere is reached from its own machine. */
const REACHED_AT: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '[::1]' };
