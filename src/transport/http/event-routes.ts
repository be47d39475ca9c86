import { lapseSignal } from '../../auth/watch-standing.ts';
import type { StoredEvent } from '../../protocol/events.ts';
import type { Door } from '../door.ts';
import type { Call } from './call.ts';
import { sendEventStream } from './event-stream.ts';
import { answered, callerOf, openEventStream, principalOf, type Routes, wantsEventStream } from './routes.ts';

/** The event log over HTTP: a page, a long poll, or an event stream, with the same cursor. */
export function eventRoutes(door: Door): Pick<Routes, 'readEvents'> {
  return {
    readEvents: (call) => (wantsEventStream(call.request) ? stream(door, call) : page(door, call)),
  };
}

async function stream(
  { executions, draining, drainMs, closing }: Door,
  call: Call<'readEvents'>,
): Promise<string | undefined> {
  const { params, query, lastEventId, gone, request, reply } = call;
  const caller = callerOf(call);
  const { executionId } = params;
  const after = lastEventId ?? query.after;
  const { atEnd } = await executions.assertCursor(executionId, after, caller);
  if (atEnd) {
    reply.code(204);
    return undefined;
  }
  if (request.method === 'HEAD') {
    reply.type('text/event-stream; charset=utf-8');
    return '';
  }
  const signal = AbortSignal.any([gone, closing, lapseSignal(principalOf(call), answered(reply))]);
  const events = executions.events(executionId, { after, signal }, caller);
  await sendEventStream(openEventStream(reply), events, { signal, draining, drainMs });
  return undefined;
}

async function page(
  { executions, draining, closing }: Door,
  { params, query, gone, reply, ...call }: Call<'readEvents'>,
): Promise<string> {
  const { after, limit, waitMs } = query;
  const signal = AbortSignal.any([gone, draining, closing, AbortSignal.timeout(waitMs)]);
  const { events, finished } = await executions.page(params.executionId, { after, limit, signal }, callerOf(call));
  reply.type('application/json; charset=utf-8');
  return pageText(events, { after, finished });
}

/** The events stand in it byte for byte as they are stored. */
function pageText(events: readonly StoredEvent[], { after, finished }: { after: number; finished: boolean }): string {
  const nextAfter = events.at(-1)?.seq ?? after;
  return `{"events":[${events.map(({ bytes }) => bytes).join(',')}],"nextAfter":${nextAfter},"finished":${finished}}`;
}
