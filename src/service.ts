import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import type { Logger } from 'pino';
import { AuditLog } from './audit/audit-log.ts';
import { type ClaudeBinary, findClaude } from './claude/binary.ts';
import type { ExecutorClient } from './client/executor-client.ts';
import type { Config } from './config.ts';
import { openDispatch } from './dispatch.ts';
import { startEgressProxy } from './egress/egress-proxy.ts';
import { EventLog } from './event-log/event-log.ts';
import { Executions } from './executions/executions.ts';
import type { Caller } from './executions/new-execution.ts';
import { recover } from './executions/recovery.ts';
import { removeFoldersOf } from './executions/run-directories.ts';
import { Runs } from './executions/runs.ts';
import { StartGate } from './executions/start-gate.ts';
import { sweepSpares } from './executions/warm-place.ts';
import { WarmPool } from './executions/warm-pool.ts';
import { type Isolation, proveIsolation } from './isolation/isolation.ts';
import { SpareLauncher } from './isolation/spare-launcher.ts';
import { type CredentialFound, findCredential } from './model-gateway/credential.ts';
import type { OperatorCredential } from './model-gateway/operator-credential.ts';
import { addressRanges } from './outbound/address-range.ts';
import { openPaying } from './paying.ts';
import { newId } from './protocol/ids.ts';
import { makeDataFolder } from './storage/make-folder.ts';
import { openRedisStorage } from './storage/redis/redis-storage.ts';
import { openSpool } from './storage/spool/open-spool.ts';
import { openSqliteStorage } from './storage/sqlite/sqlite-storage.ts';
import type { Storage } from './storage/storage.ts';

/** How often executions of services that died meanwhile are looked for; a reader who follows one sees its end. */
const RECOVERY_INTERVAL_MS = 5_000;
const RETENTION_INTERVAL_MS = 3_600_000;

export interface Service extends AsyncDisposable {
  readonly executions: Executions;
  readonly storage: Storage;
  readonly audit: AuditLog;
  readonly binary: ClaudeBinary;
  /** What encloses runs, as the probe at start proved it. */
  readonly isolation: Isolation;
  readonly dataDirectory: string;
  /** The processes started ahead; there are none until `warm.open()` is called. */
  readonly warm: Pick<WarmPool, 'open' | 'ready'>;
  /** Which credential of the operator's pays, and how it is. */
  readonly credential: Pick<OperatorCredential, 'status' | 'test'> & {
    /** Tells the other nodes through the store how it is. */
    announce(): Promise<void>;
  };
  /**
   * Takes over what dead services left, now and from now on, takes executions from the shared queue, and keeps the store
   * within its limits: the end of a start, which would end them if it failed. Executions that a dead service had accepted
   * but not started are run here when `adoptQueued`; else they stay queued.
   */
  begin(options: { adoptQueued: boolean }): Promise<void>;
  /** A client of this service for a caller on this machine who works in `directory`, or in fresh workspaces. */
  client(directory: string | undefined): ExecutorClient;
  /** Ends every run, then everything else; every part is closed even if one fails. See `Executions.close`. */
  close(options: { force: boolean; keepWaiting?: boolean }): Promise<void>;
}

export interface ServiceOptions {
  logger: Logger;
}

/**
 * The composition root: makes every long-lived part of a service and wires them. Nothing is taken up until `begin`.
 * @throws ServiceError `data_folder_unusable`, `storage_newer`
 */
export async function createService(config: Config, { logger }: ServiceOptions): Promise<Service> {
  const instanceId = newId();
  const storage = await openStorage(config, logger);
  /** What a start that fails has to close, the last one first: a process that keeps any of it open would not end. */
  const opened: (() => Promise<void>)[] = [() => storage.close()];
  try {
    const [binary, found] = await Promise.all([
      findClaude(config.claudeBin),
      operatorCredential(config),
      storage.registerInstance(instanceId),
    ]);
    if (binary.usable && binary.warning !== undefined) logger.warn({ path: binary.path }, binary.warning);
    const paying = await openPaying(config, { found, storage, instanceId, logger });
    opened.push(() => paying.close());
    const { access } = paying;
    const egress = await startEgressProxy({ allowed: addressRanges(config.egressPrivate) }, logger);
    opened.push(() => egress.close());
    const launchers = new SpareLauncher();
    opened.push(async () => launchers.close());
    const isolation = await isolationOf(config);
    const isolationLevel = config.role === 'api' ? undefined : isolation.level;
    const serviceUid = process.getuid?.();
    const settings = { ...config, egress: config.egress ?? 'open', instanceId, serviceUid, isolationLevel };
    const starts = new StartGate();
    const warm = new WarmPool({ access, egress, binary, isolation, logger, settings, starts }, config.warmPool);
    const eventLog = new EventLog(storage);
    const audit = new AuditLog(storage, logger);
    opened.push(() => audit.close());
    const parts = { storage, audit, eventLog, access, egress, binary, isolation };
    const context = { ...parts, launchers, starts, warm, logger, settings };
    const runs = new Runs(context);
    const dispatch = await openDispatch(config, {
      storage,
      runs,
      instanceId,
      logger,
      canRun: binary.usable && paying.possible,
      onControl: (request) => executions.controlHere(request),
    });
    opened.push(() => dispatch.close());
    const { dispatcher, control: remote } = dispatch;
    const executions: Executions = new Executions(context, { runs, dispatcher, remote });
    opened.push(() => executions.close({ force: true, keepWaiting: true }));
    const closing = new AbortController();
    const { signal } = closing;
    let underWay: Promise<void>[] = [];
    const begin = async ({ adoptQueued }: { adoptQueued: boolean }): Promise<void> => {
      const recoverOnce = (): Promise<number> =>
        recover(context, {
          // What waits in a shared queue is nobody's: whoever takes it takes it over.
          adopt: adoptQueued && dispatcher.kind === 'own' ? (record) => dispatcher.dispatch(record) : undefined,
          isLive: ({ id, tenant }) => runs.find(id, tenant) !== undefined,
          ended: (record) => dispatcher.ended(record),
        });
      await recoverOnce();
      await sweepSpares({ storage, logger }, config.dataDirectory);
      dispatch.begin();
      const recoverAlone = () => alone(storage, instanceId, recoverOnce);
      const limit = (): Promise<void> => keepWithinLimits(storage, config, logger);
      underWay = [
        repeatedly(recoverAlone, { everyMs: RECOVERY_INTERVAL_MS, logger, signal }),
        limit()
          .catch((error: unknown) => logger.error({ err: error }, 'retention failed'))
          .then(() => repeatedly(limit, { everyMs: RETENTION_INTERVAL_MS, logger, signal })),
      ];
    };
    const close = async (options: { force: boolean; keepWaiting?: boolean }): Promise<void> => {
      closing.abort();
      warm.stop();
      await closeAll([
        () => executions.close(options),
        () => dispatch.close(),
        () => warm.close(),
        async () => launchers.close(),
        ...underWay.map((work) => () => work),
        () => egress.close(),
        () => paying.close(),
        () => audit.close(),
        () => storage.close(),
      ]);
    };
    return {
      executions,
      storage,
      audit,
      binary,
      isolation,
      dataDirectory: config.dataDirectory,
      warm,
      credential: paying.credential,
      begin,
      client: (directory) =>
        embeddedClient(
          { executions, close },
          { tenant: 'local', ...(directory === undefined ? {} : { directory: resolve(directory) }) },
        ),
      close,
      [Symbol.asyncDispose]: () => close({ force: false }),
    };
  } catch (error) {
    await Promise.allSettled([closeAll(opened.reverse())]);
    throw error;
  }
}

/** The embedded store, or with `REDIS_URL` the one that several processes share. */
async function openStorage(config: Config, logger: Logger): Promise<Storage> {
  const { redisUrl, dataDirectory } = config;
  if (redisUrl === undefined) return openSqliteStorage({ dataDirectory });
  makeDataFolder(dataDirectory);
  const allowNoPersistence = config.redisPersistence === 'optional';
  const redis = await openRedisStorage({ url: redisUrl, allowNoPersistence, logger });
  try {
    return await openSpool(redis, { parent: join(dataDirectory, 'spool'), maxBytes: config.spoolBytes, logger });
  } catch (error) {
    await redis.close();
    throw error;
  }
}

/** What encloses runs: proven as the user that they are in workspaces of the service. An `api` runs none. */
export function isolationOf(config: Config): Promise<Isolation> {
  return proveIsolation({
    ...config.box,
    wanted: config.role === 'api' ? 'L1' : config.isolation,
    dataDirectory: config.dataDirectory,
    identity: process.getuid?.() === 0 ? { uid: config.runUid, gid: config.runUid } : undefined,
    environment: config.inherited,
    home: config.credentials.home,
  });
}

/** The operator's credential, from the places the configuration names. */
export async function operatorCredential(config: Config): Promise<CredentialFound> {
  return findCredential({
    ...config.credentials,
    dataDir: config.dataDirectory,
    runCli: async (args, env, input, signal) => {
      const binary = await findClaude(config.claudeBin);
      if (!binary.usable) throw new Error(binary.problem);
      const { httpsProxy, httpProxy, noProxy } = config.proxy;
      const proxies = { HTTPS_PROXY: httpsProxy, HTTP_PROXY: httpProxy, NO_PROXY: noProxy };
      const ended = await execa(binary.path, [...args], {
        extendEnv: false,
        env: { ...config.inherited, ...proxies, ...env },
        input,
        cancelSignal: signal,
        forceKillAfterDelay: 2_000,
        reject: false,
        maxBuffer: 1024 * 1024,
      });
      return { exitCode: ended.exitCode ?? null, stderr: ended.stderr };
    },
  });
}

/** Does something again and again until `signal` aborts; one time that fails does not end it. */
async function repeatedly(
  act: () => Promise<unknown>,
  { everyMs, logger, signal }: { everyMs: number; logger: Logger; signal: AbortSignal },
): Promise<void> {
  for (;;) {
    // It rejects for the one reason that the service closes.
    await delay(everyMs, undefined, { signal, ref: false }).catch(() => {});
    if (signal.aborted) return;
    await act().catch((error: unknown) => logger.error({ err: error }, 'housekeeping failed'));
  }
}

/** Of all services on a store, one at a time looks for what dead ones left; the others leave it to that one. */
async function alone(storage: Storage, instanceId: string, act: () => Promise<unknown>): Promise<void> {
  const executionId = `recovery by ${instanceId}`;
  if ((await storage.claim(['recovery'], { executionId, instanceId })) !== undefined) return;
  try {
    await act();
  } finally {
    await storage.releaseClaims(executionId);
  }
}

/** Cuts logs and removes records that are past their limits, with the folders that went with them. */
async function keepWithinLimits(storage: Storage, { retention }: Config, logger: Logger): Promise<void> {
  const daysAgo = (days: number): string => new Date(Date.now() - days * 24 * 3600 * 1000).toISOString();
  const report = await storage.applyRetention({
    logsFinishedBefore: daysAgo(retention.logDays),
    recordsFinishedBefore: daysAgo(retention.recordDays),
    maxLogBytes: retention.maxLogBytes,
    auditBefore: daysAgo(retention.auditDays),
  });
  await removeFoldersOf(report, logger);
}

async function closeAll(steps: (() => Promise<void>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const step of steps) await step().catch((error: unknown) => errors.push(error));
  if (errors.length > 0) throw new AggregateError(errors, 'Parts of the service could not be closed');
}

function embeddedClient({ executions, close }: Pick<Service, 'executions' | 'close'>, caller: Caller): ExecutorClient {
  return {
    execute: (request) => executions.start(request, caller),
    get: (id) => executions.get(id, caller),
    list: (options) => executions.list(options, caller),
    events: (id, options) => executions.events(id, options, caller),
    cancel: (id) => executions.cancel(id, caller),
    pause: (id) => executions.pause(id, caller),
    resume: (id) => executions.resume(id, caller),
    close,
  };
}
