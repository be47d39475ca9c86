import type { AuditLog } from '../audit/audit-log.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { Executions } from './executions.ts';
import type { Caller } from './new-execution.ts';

/** What the doors ask of executions. */
export type CallerExecutions = Pick<
  Executions,
  | 'start'
  | 'get'
  | 'getJson'
  | 'list'
  | 'events'
  | 'page'
  | 'assertCursor'
  | 'ended'
  | 'cancel'
  | 'pause'
  | 'resume'
  | 'addInput'
  | 'delete'
>;

/** The same, with an entry in the audit log for each change that a caller asks for; that of a start is stored with it. */
export function auditedExecutions(executions: Executions, audit: AuditLog): CallerExecutions {
  const control = (action: 'cancel' | 'pause' | 'resume') => (id: string, caller: Caller) =>
    audit.during(caller, { action: `execution.${action}`, subject: id }, () => executions[action](id, caller));
  return {
    start: async (input, caller) => {
      try {
        return await executions.start(input, caller);
      } catch (error) {
        if (error instanceof ServiceError) await audit.refused(caller, { action: 'execution.start' }, error);
        throw error;
      }
    },
    get: (id, caller) => executions.get(id, caller),
    getJson: (id, caller) => executions.getJson(id, caller),
    list: (filter, caller) => executions.list(filter, caller),
    events: (id, options, caller) => executions.events(id, options, caller),
    page: (id, options, caller) => executions.page(id, options, caller),
    assertCursor: (id, after, caller) => executions.assertCursor(id, after, caller),
    ended: (id, signal, caller) => executions.ended(id, signal, caller),
    cancel: control('cancel'),
    pause: control('pause'),
    resume: control('resume'),
    addInput: (id, text, caller) =>
      audit.during(caller, { action: 'execution.input', subject: id }, () => executions.addInput(id, text, caller)),
    delete: (id, caller) =>
      audit.during(caller, { action: 'execution.delete', subject: id }, () => executions.delete(id, caller)),
  };
}
