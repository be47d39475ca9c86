import type { Logger } from 'pino';
import type { ClaudeBinary } from '../claude/binary.ts';
import type { EventLog } from '../event-log/event-log.ts';
import type { Isolation } from '../isolation/isolation.ts';
import type { SpareLauncher } from '../isolation/spare-launcher.ts';
import type { ModelGateway } from '../model-gateway/model-gateway.ts';
import type { Storage } from '../storage/storage.ts';
import type { NewExecutionSettings } from './new-execution.ts';
import type { StartGate } from './start-gate.ts';
import type { WarmPool } from './warm-pool.ts';

/** The way to the model API, or why there is none. */
export type GatewayAccess =
  | { open: true; gateway: ModelGateway; credentialKind: 'api_key' | 'max' }
  | { open: false; problem: string };

/** What the core is given; made once by the composition root. */
export interface RunContext {
  storage: Storage;
  eventLog: EventLog;
  access: GatewayAccess;
  binary: ClaudeBinary;
  isolation: Isolation;
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
