import type { Execution } from '../../protocol/execution.ts';
import { ExecutionDocument, RequestDocument } from '../../protocol/execution-document.ts';
import type { ExecutionRecord } from '../storage.ts';
import { textsOf } from './script.ts';

/** The public part; the log's own count of events stands in for the one in the document. */
export function toExecution(document: string, lastSeq: string): Execution {
  return { ...ExecutionDocument.parse(JSON.parse(document)), lastSeq: Number(lastSeq) };
}

/** A record from the values that `readRecord` returns in a script. */
export function toRecord(values: unknown): ExecutionRecord {
  const [tenant = '', directory = '', fresh, runId = '', instanceId = '', fence, requestHash = '', ...rest] =
    textsOf(values);
  const [lastSeq = '', execution = '', request = '', keyId = '', envelope = ''] = rest;
  return {
    tenant,
    keyId: keyId === '' ? null : keyId,
    execution: toExecution(execution, lastSeq),
    request: RequestDocument.parse(JSON.parse(request)),
    directory,
    fresh: fresh === '1',
    runId,
    instanceId,
    fence: Number(fence),
    requestHash,
    ...(envelope === '' ? {} : { envelope }),
  };
}
