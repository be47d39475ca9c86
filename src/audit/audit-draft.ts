import type { AuditAction, AuditDraft } from '../protocol/audit.ts';

/** Who is written down; what is not known is left out. */
export interface AuditActor {
  tenant?: string | undefined;
  keyId?: string | null | undefined;
  address?: string | undefined;
  requestId?: string | undefined;
}

export interface AuditFacts {
  action: AuditAction;
  /** The id or name of what it was done to. */
  subject?: string | undefined;
  /** `ok` when left out; the error code of a refusal. */
  outcome?: string;
  detail?: Readonly<Record<string, string>>;
}

/** An entry as of now. */
export function auditDraft(
  actor: AuditActor,
  { action, subject, outcome = 'ok', detail = {} }: AuditFacts,
): AuditDraft {
  return {
    time: new Date().toISOString(),
    action,
    outcome,
    tenant: actor.tenant ?? null,
    keyId: actor.keyId ?? null,
    address: actor.address ?? null,
    requestId: actor.requestId ?? null,
    subject: subject ?? null,
    detail,
  };
}
