import type { Logger } from 'pino';
import type { AuditLog } from '../audit/audit-log.ts';
import type { ClaudeBinary } from '../claude/binary.ts';
import type { EgressProxy } from '../egress/egress-proxy.ts';
import type { EventLog } from '../event-log/event-log.ts';
import type { Isolation } from '../isolation/isolation.ts';
import type { SpareLauncher } from '../isolation/spare-launcher.ts';
import type { GatewayCredential } from '../model-gateway/gateway-headers.ts';
import type { ModelGateway } from '../model-gateway/model-gateway.ts';
import type { Storage } from '../storage/storage.ts';
import type { CredentialEnvelopes } from './credential-envelope.ts';
import type { NewExecutionSettings } from './new-execution.ts';
import type { LimitSettings } from './quotas.ts';
import type { StartGate } from './start-gate.ts';
import type { WarmPool } from './warm-pool.ts';

/** The way to the model API, and who pays where the caller does not. */
export interface GatewayAccess {
  gateway: ModelGateway;
  operator: { credential: GatewayCredential } | { problem: string };
  /** Callers' own credentials; undefined where there is no key to open them with. */
  envelopes: CredentialEnvelopes | undefined;
}

/** What the core is given; made once by the composition root. */
export interface RunContext {
  storage: Storage;
  audit: AuditLog;
  eventLog: EventLog;
  access: GatewayAccess;
  egress: EgressProxy;
  binary: ClaudeBinary;
  isolation: Isolation;
  launchers: SpareLauncher;
  starts: StartGate;
  warm: WarmPool;
  logger: Logger;
  settings: NewExecutionSettings & {
    runUid: number;
    limits: LimitSettings;
    serviceUid: number | undefined;
    stallAfterMs: number;
    maxLineBytes: number;
    maxLogBytes: number;
    inherited: Readonly<Record<string, string>>;
  };
}
