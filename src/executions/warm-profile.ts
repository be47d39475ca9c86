import { createHash } from 'node:crypto';
import { initializeMessage, optionArguments } from '../claude/command.ts';
import { outputContract } from '../claude/structured-output.ts';
import type { GatewayCredential } from '../model-gateway/gateway-headers.ts';
import type { ExecutionRequest } from '../protocol/execution-request.ts';
import type { Tenant } from '../storage/storage.ts';
import type { Caller, NewExecutionSettings } from './new-execution.ts';
import { egressListOf, isProxied } from './run-egress.ts';

/**
 * What a process that waits is started with, and all that a run must share with it to be served by it. A `fresh` one
 * waits in a workspace of its own; a `named` one waits in a neutral folder until it is claimed for a named workspace.
 */
export interface WarmProfile {
  kind: 'fresh' | 'named';
  tenant: Tenant;
  /** The named workspace that it can be claimed for, where a box leaves it no other. */
  workspace: string | undefined;
  model: string;
  /** Which variable its token stands in; the token itself is given a payer when a run takes the process. */
  credentialKind: GatewayCredential['kind'];
  /** The options of the run; its prompt is not in it. */
  request: ExecutionRequest;
  /** Whether its programs are to use the egress proxy; what they reach there is the run's. */
  proxied: boolean;
  /** The first line it is sent. */
  initialize: object;
  /** Two profiles are the same when their keys are. */
  key: string;
}

/** The profile of a run; `undefined` for one that has to be started for itself. */
export function profileOf(
  request: ExecutionRequest,
  caller: Caller,
  defaults: Pick<NewExecutionSettings, 'defaultModel' | 'isolationLevel' | 'egress'> & {
    operatorKind: GatewayCredential['kind'] | undefined;
  },
): WarmProfile | undefined {
  const { sessionId, workspace, env, mcpServers, outputSchema } = request;
  if (sessionId !== undefined || env !== undefined || mcpServers !== undefined) return undefined;
  if (workspace === undefined ? caller.directory !== undefined : workspace.startsWith('lent:')) return undefined;
  const credentialKind = caller.credential?.kind ?? defaults.operatorKind;
  if (credentialKind === undefined) return undefined;
  const kind = workspace === undefined ? 'fresh' : 'named';
  const { tenant } = caller;
  const model = request.model ?? defaults.defaultModel;
  const proxied = isProxied(egressListOf(request, defaults), defaults.isolationLevel);
  const schema = outputSchema === undefined ? undefined : outputContract(outputSchema).cliSchema;
  const initialize = initializeMessage(request, schema);
  const bound = defaults.isolationLevel === 'L1' ? undefined : workspace;
  const place = [kind, tenant, bound ?? null, credentialKind, proxied];
  const shared = JSON.stringify([...place, optionArguments(request, model), initialize]);
  const key = createHash('sha256').update(shared).digest('base64');
  return {
    kind,
    tenant,
    workspace: bound,
    model,
    credentialKind,
    request: { ...request, prompt: '' },
    proxied,
    initialize,
    key,
  };
}
