import { statfs } from 'node:fs/promises';
import type { Config } from '../config.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { HealthDetail } from '../protocol/health.ts';
import type { Service } from '../service.ts';

const MiB = 1024 * 1024;
/** With less, runs could not even store how they ended. */
const LEAST_FREE = 32 * MiB;

/** A probe writes to the disk; how often others ask must not decide how often that happens. */
const KEPT_MS = 1_000;

/** `starting` until work is taken up, `draining` once no more is. */
export type Phase = 'starting' | 'open' | 'draining';

/** Makes what answers how the service is; one answer serves everyone who asks within a second. */
export function healthOf(
  service: Service,
  options: { version: string; role: Config['role']; callerCredentials: boolean; phase: () => Phase },
): () => Promise<HealthDetail> {
  let kept: { at: number; phase: Phase; health: Promise<HealthDetail> } | undefined;
  return () => {
    const now = performance.now();
    const phase = options.phase();
    if (kept === undefined || now - kept.at > KEPT_MS || kept.phase !== phase) {
      kept = { at: now, phase, health: look(service, { ...options, phase }) };
    }
    return kept.health;
  };
}

async function look(
  service: Service,
  {
    version,
    role,
    callerCredentials,
    phase,
  }: { version: string; role: Config['role']; callerCredentials: boolean; phase: Phase },
): Promise<HealthDetail> {
  const { storage, executions, dataDirectory } = service;
  const [stored, queued, disk] = await Promise.all([
    check(() => storage.probe(), 'takes writes'),
    check(() => executions.assertQueue(), 'takes executions'),
    freeSpace(dataDirectory),
  ]);
  const checks = {
    storage: stored,
    queue: queued,
    disk,
    ...(role === 'api' ? NOT_NEEDED : toRun(service, callerCredentials)),
  };
  const broken = Object.values(checks).some(({ ok }) => !ok);
  return {
    status: phase !== 'open' ? phase : broken ? 'broken' : 'ok',
    version,
    role,
    checks,
    ...executions.load(),
    isolation: service.isolation.level,
  };
}

type Check = HealthDetail['checks']['storage'];

const NOT_NEEDED = {
  claude: { ok: true, detail: 'not needed here: workers run it' },
  credential: { ok: true, detail: 'not needed here: workers have it, see /v1/auth/status' },
  isolation: { ok: true, detail: 'not needed here: workers enclose what they run' },
};

/** What a process needs that runs executions itself. */
function toRun(
  { binary, credential, isolation }: Service,
  callerCredentials: boolean,
): { claude: Check; credential: Check; isolation: Check } {
  return {
    claude: binary.usable
      ? { ok: true, detail: binary.warning ?? `version ${binary.version}` }
      : { ok: false, detail: binary.problem },
    isolation: { ok: true, detail: isolation.detail },
    credential: credentialCheck(credential, callerCredentials),
  };
}

/**
 * One that is refused makes every run fail, so that the service is not ready; it is tried again once a minute, because no
 * run comes to prove it. A usage limit passes by itself, and callers are told by their runs.
 */
function credentialCheck(credential: Service['credential'], callerCredentials: boolean): Check {
  const { state, kind, source, problem, lastRefusal, lastTest } = credential.status();
  switch (state) {
    case 'missing':
      if (callerCredentials && source === null) return { ok: true, detail: 'none; callers bring their own' };
      return { ok: false, detail: problem?.message ?? 'There is no Claude credential.' };
    case 'refused': {
      void credential.test();
      const repair = lastRefusal?.repair ?? lastTest?.repair ?? 'see cc-executor doctor';
      return { ok: false, detail: `${kind}: the model API refuses it; ${repair}` };
    }
    case 'limited':
      return { ok: true, detail: `${kind}: its usage limit is reached, until ${lastRefusal?.resetAt ?? 'it resets'}` };
    default:
      return { ok: true, detail: kind ?? '' };
  }
}

async function check(ask: () => Promise<unknown>, fine: string): Promise<Check> {
  try {
    await ask();
    return { ok: true, detail: fine };
  } catch (error) {
    // A full queue takes nothing, and is no fault of the service.
    if (error instanceof ServiceError && error.code === 'queue_full') return { ok: true, detail: error.message };
    return { ok: false, detail: error instanceof Error ? error.message : String(error) };
  }
}

async function freeSpace(folder: string): Promise<Check> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const detail = `${Math.floor(free / MiB)} MiB free in ${folder}`;
  return free < LEAST_FREE ? { ok: false, detail: `${detail}; free some, or move CC_DATA_DIR` } : { ok: true, detail };
}
