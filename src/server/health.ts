import type { HealthDetail } from '../protocol/health.ts';
import type { Service } from '../service.ts';

/** A probe writes to the disk; how often others ask must not decide how often that happens. */
const KEPT_MS = 1_000;

/** Makes what answers how the service is; one answer serves everyone who asks within a second. */
export function healthOf(
  service: Service,
  options: { version: string; draining: AbortSignal },
): () => Promise<HealthDetail> {
  let kept: { at: number; draining: boolean; health: Promise<HealthDetail> } | undefined;
  return () => {
    const now = performance.now();
    const draining = options.draining.aborted;
    if (kept === undefined || now - kept.at > KEPT_MS || kept.draining !== draining) {
      kept = { at: now, draining, health: look(service, { version: options.version, draining }) };
    }
    return kept.health;
  };
}

async function look(
  { storage, binary, credential, executions }: Service,
  { version, draining }: { version: string; draining: boolean },
): Promise<HealthDetail> {
  const stored = await storage.probe().then(
    () => ({ ok: true, detail: 'takes writes' }),
    (error: unknown) => ({ ok: false, detail: error instanceof Error ? error.message : String(error) }),
  );
  const checks = {
    storage: stored,
    claude: binary.usable
      ? { ok: true, detail: binary.warning ?? `version ${binary.version}` }
      : { ok: false, detail: binary.problem },
    credential:
      'kind' in credential ? { ok: true, detail: credential.kind } : { ok: false, detail: credential.problem },
  };
  const broken = Object.values(checks).some(({ ok }) => !ok);
  return {
    status: draining ? 'draining' : broken ? 'broken' : 'ok',
    version,
    checks,
    ...executions.load(),
    isolation: 'L1',
  };
}
