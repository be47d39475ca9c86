import type { Logger } from 'pino';
import type { ClaudeBinary } from '../claude/binary.ts';
import type { EventLog } from '../event-log/event-log.ts';
import type { SpareLauncher } from '../isolation/spare-launcher.ts';
import type { GatewayCredential } from '../model-gateway/gateway-headers.ts';
import type { ModelGateway } from '../model-gateway/model-gateway.ts';
import type { Storage } from '../storage/storage.ts';
import type { CredentialEnvelopes } from './credential-envelope.ts';
import type { NewExecutionSettings } from './new-execution.ts';
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
  eventLog: EventLog;
  access: GatewayAccess;
  binary: ClaudeBinary;
  launchers: SpareLauncher;
  starts: StartGate;
  warm: WarmPool;
  logger: Logger;
  settings: NewExecutionSettings & {
    runUid: number;
    serviceUid: number | undefined;
    stallAfterMs: number;
    maxLineBytes: number;
    maxLogBytes: number;
    inherited: Readonly<Record<string, string>>;
  };
}
