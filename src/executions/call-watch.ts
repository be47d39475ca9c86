import type { Stop } from '../claude/outcome.ts';
import type { ModelCall } from '../model-gateway/model-call.ts';
import type { LiveExecution } from './live-execution.ts';
import { canStore } from './read-lines.ts';
import type { RunContext } from './run-context.ts';

export interface CallWatch {
  /** Whether the model was called at all. */
  any(): boolean;
  onCall(call: ModelCall): void;
  refusal(): 'budget' | 'credential' | null;
}

/**
 * Writes the run's model calls into its log as they end. A refused credential and a limit of the day end the run at once:
 * waiting would not mend it.
 */
export function watchCalls(context: RunContext, live: LiveExecution): CallWatch {
  let last: 'budget' | 'credential' | null = null;
  let any = false;
  return {
    any: () => any,
    refusal: () => last,
    onCall: (call) => {
      last = call.refusal === 'budget' || call.refusal === 'credential' ? call.refusal : null;
      any = true;
      const { executionId: _, ...witnessed } = call;
      // The calls that the end of an attempt breaks off are told just before its execution finishes.
      if (live.execution.state !== 'finished' && canStore(context, live))
        live.writer.append('model.called', { ...witnessed });
      const stop = stopFor(call, live);
      if (stop !== undefined) live.requestStop(stop);
    },
  };
}

function stopFor(call: ModelCall, { record }: LiveExecution): Stop | undefined {
  switch (call.refusal) {
    case 'credential':
      return { kind: 'failed', reason: 'auth_failed', text: refusedText(call, record.envelope !== undefined) };
    case 'spend':
      return { kind: 'failed', reason: 'budget', text: call.detail ?? 'The limit of the day is reached.' };
    case 'spend_unknown':
      return { kind: 'failed', reason: 'storage_full', text: call.detail ?? 'The spend of the day is not known.' };
    default:
      return undefined;
  }
}

function refusedText({ status }: ModelCall, callersOwn: boolean): string {
  const http = status === null ? '' : ` (HTTP ${status})`;
  return callersOwn
    ? `The model API refused the Claude credential that you presented${http}. Present one that is valid.`
    : `The model API refused the credential${http}. Check it with \`cc-executor doctor\`, and renew it.`;
}
