import type { Execution } from '../../protocol/execution.ts';
import { ExecutionDocument, RequestDocument } from '../../protocol/execution-document.ts';
import type { ExecutionRequest } from '../../protocol/execution-request.ts';
import type { ExecutionRecord } from '../storage.ts';
import { integer, type Row, text } from './rows.ts';

export const COLUMNS =
  'e.tenant, e.directory, e.fresh, e.run_id, e.instance_id, e.fence, e.request_hash, e.key_id, e.envelope, e.last_seq, d.execution, r.request';
export const FROM = 'FROM executions e JOIN execution_documents d USING (log) JOIN execution_requests r USING (log)';

/** The public part; the log's own count of events stands in for the one in the document. */
export function toExecution(row: Row): Execution {
  return { ...ExecutionDocument.parse(JSON.parse(text(row, 'execution'))), lastSeq: integer(row, 'last_seq') };
}

/** The request is parsed when it is first asked for: most who read a record want its public part alone. */
export function toRecord(row: Row): ExecutionRecord {
  let request: ExecutionRequest | undefined;
  return {
    tenant: text(row, 'tenant'),
    keyId: row.key_id === null ? null : text(row, 'key_id'),
    execution: toExecution(row),
    get request(): ExecutionRequest {
      request ??= RequestDocument.parse(JSON.parse(text(row, 'request')));
      return request;
    },
    directory: text(row, 'directory'),
    fresh: integer(row, 'fresh') === 1,
    runId: text(row, 'run_id'),
    instanceId: text(row, 'instance_id'),
    fence: integer(row, 'fence'),
    requestHash: text(row, 'request_hash'),
    ...(row.envelope === null ? {} : { envelope: text(row, 'envelope') }),
  };
}
