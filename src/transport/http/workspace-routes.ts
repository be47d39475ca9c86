import { ServiceError } from '../../protocol/errors.ts';
import type { Door } from '../door.ts';
import type { Call } from './call.ts';
import { refuseEncoding } from './json-body.ts';
import { callerOf, type Routes } from './routes.ts';

/** Files of workspaces over HTTP. */
export function workspaceRoutes(door: Door): Pick<Routes, 'readFile' | 'writeFile' | 'readArchive' | 'writeArchive'> {
  const { workspaces } = door;
  return {
    readFile: async ({ params, reply, ...call }) => {
      const found = await workspaces.open(callerOf(call).tenant, params.name, params.path);
      if (found.kind === 'directory') return found.listing;
      // What an agent has written is never shown as a page of this origin.
      reply.header('content-length', found.size).type('application/octet-stream');
      reply.header('content-disposition', 'attachment').header('x-content-type-options', 'nosniff');
      return found.content;
    },
    writeFile: async ({ params, reply, request, ...call }) => {
      refuseUpload(door, request);
      const target = { path: params.path, content: request.raw };
      const { created, file } = await workspaces.write(callerOf(call).tenant, params.name, target);
      reply.code(created ? 201 : 200);
      return file;
    },
    readArchive: async ({ params, reply, ...call }) => {
      const archive = await workspaces.pack(callerOf(call).tenant, params.name);
      reply.type('application/x-tar').header('content-disposition', 'attachment');
      return archive;
    },
    writeArchive: async ({ params, request, ...call }) => {
      refuseUpload(door, request);
      return workspaces.unpack(callerOf(call).tenant, params.name, request.raw);
    },
  };
}

function refuseUpload({ draining }: Door, request: Call<'writeFile'>['request']): void {
  refuseEncoding(request);
  if (draining.aborted)
    throw new ServiceError('shutting_down', 'The service is shutting down; try again later', {
      data: { retryAfterMs: 5_000 },
    });
}
