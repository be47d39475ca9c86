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

/** Writes the run's model calls into its log as they end. A refused credential ends the run at once: waiting would not mend it. */
export function watchCalls(context: RunContext, live: LiveExecution): CallWatch {
  let last: 'budget' | 'credential' | null = null;
  let any = false;
  return {
    any: () => any,
    refusal: () => last,
    onCall: (call) => {
      last = call.refusal;
      any = true;
      const { executionId: _, ...witnessed } = call;
      // The calls that the end of an attempt breaks off are told just before its execution finishes.
      if (live.execution.state !== 'finished' && canStore(context, live))
        live.writer.append('model.called', { ...witnessed });
      if (call.refusal !== 'credential') return;
      const status = call.status === null ? '' : ` (HTTP ${call.status})`;
      live.requestStop({
        kind: 'failed',
        reason: 'auth_failed',
        text: `The model API refused the credential${status}. Check it with \`cc-executor doctor\`, and renew it.`,
      });
    },
  };
}
