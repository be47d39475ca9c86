import type { Caller } from '../../executions/new-execution.ts';
import { ServiceError } from '../../protocol/errors.ts';
import type { Door } from '../door.ts';
import type { Call } from './call.ts';
import { refuseEncoding } from './json-body.ts';
import { callerOf, invalid, type Routes } from './routes.ts';

/** Files of workspaces over HTTP. */
export function workspaceRoutes(door: Door): Pick<Routes, 'readFile' | 'writeFile' | 'readArchive' | 'writeArchive'> {
  const { workspaces, audit } = door;
  return {
    readFile: async ({ params, reply, ...call }) => {
      const found = await workspaces.open(callerOf(call).tenant, params.name, params.path);
      if (found.kind === 'directory') return found.listing;
      // What an agent has written is never shown as a page of this origin.
      reply.header('content-length', found.size).type('application/octet-stream');
      reply.header('content-disposition', 'attachment').header('x-content-type-options', 'nosniff');
      return found.content;
    },
    writeFile: async ({ params, reply, ...call }) => {
      const caller = callerOf(call);
      const target = { path: params.path, content: call.request.raw };
      const change = { action: 'workspace.write', subject: params.name, detail: { path: params.path } } as const;
      const { created, file } = await audit.during(caller, change, async () => {
        await admitUpload(door, call.request, caller);
        return workspaces.write(caller.tenant, params.name, target);
      });
      reply.code(created ? 201 : 200);
      return file;
    },
    readArchive: async ({ params, reply, ...call }) => {
      const archive = await workspaces.pack(callerOf(call).tenant, params.name);
      reply.type('application/x-tar').header('content-disposition', 'attachment');
      return archive;
    },
    writeArchive: async ({ params, ...call }) => {
      const caller = callerOf(call);
      return audit.during(caller, { action: 'workspace.unpack', subject: params.name }, async () => {
        await admitUpload(door, call.request, caller);
        return workspaces.unpack(caller.tenant, params.name, call.request.raw);
      });
    },
  };
}

async function admitUpload(door: Door, request: Call<'writeFile'>['request'], caller: Caller): Promise<void> {
  refuseEncoding(request);
  if (door.draining.aborted) {
    throw new ServiceError('shutting_down', 'The service is shutting down; try again later', {
      data: { retryAfterMs: 5_000 },
    });
  }
  if (!door.limitsBytes(caller)) return;
  const declared = request.headers['content-length'];
  if (declared === undefined)
    throw invalid('content-length', 'is needed, because this key may send so much a day only');
  await door.takeBytes(caller, Number(declared));
}
