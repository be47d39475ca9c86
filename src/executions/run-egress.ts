import type { EgressRun } from '../egress/egress-lease.ts';
import type { EgressList } from '../protocol/egress-rule.ts';
import type { Execution } from '../protocol/execution.ts';
import type { ExecutionRequest } from '../protocol/execution-request.ts';
import type { LiveExecution } from './live-execution.ts';
import { canStore } from './read-lines.ts';
import type { RunContext } from './run-context.ts';

/** What a run may reach besides the model: what it asked for, or what the operator has set. */
export function egressListOf(request: ExecutionRequest, { egress }: { egress: EgressList }): EgressList {
  return request.egress ?? egress;
}

/** As the execution shows it. At L1 nothing holds a program to the list: whoever ignores the proxy reaches everything. */
export function shownEgress(list: EgressList, isolation: Execution['isolation']): Execution['egress'] {
  return isolation === 'L1' || list === 'open' ? 'open' : [...list];
}

/** Whether a run goes out through the proxy. Only one that nothing holds back needs no proxy to go anywhere. */
export function isProxied(list: EgressList, level: Execution['isolation'] | undefined): boolean {
  return list !== 'open' || (level ?? 'L1') !== 'L1';
}

/** The run as the proxy knows it. What it was refused stands in its log. */
export function egressRun(context: RunContext, live: LiveExecution): EgressRun {
  return {
    executionId: live.execution.id,
    list: egressListOf(live.record.request, context.settings),
    onDenied: (denial) => {
      const { host, port, reason } = denial;
      const { tenant, keyId, execution } = live.record;
      const detail = { host, port: String(port), reason };
      void context.audit.record({ tenant, keyId }, { action: 'egress.denied', subject: execution.id, detail });
      context.logger.info({ executionId: live.execution.id, ...denial }, 'a run was refused a host');
      if (live.execution.state === 'finished' || !canStore(context, live)) return;
      live.writer.append('egress.denied', { ...denial });
    },
  };
}
