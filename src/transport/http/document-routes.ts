import type { Door } from '../door.ts';
import { documentationPage } from './documentation-page.ts';
import type { Routes } from './routes.ts';

/** What describes the service. */
export function documentRoutes({ version, documents }: Door): Pick<Routes, 'root' | 'openapi' | 'openrpc' | 'docs'> {
  const openapi = JSON.stringify(documents.openApi);
  const openrpc = JSON.stringify(documents.openRpc);
  const page = documentationPage(version);
  return {
    root: async () => ({
      name: 'cc-executor',
      docs: '/docs',
      openapi: '/v1/openapi.json',
      openrpc: '/v1/openrpc.json',
      websocket: '/v1/ws',
      health: '/health',
    }),
    openapi: async ({ reply }) => {
      reply.type('application/json; charset=utf-8');
      return openapi;
    },
    openrpc: async ({ reply }) => {
      reply.type('application/json; charset=utf-8');
      return openrpc;
    },
    docs: async ({ reply }) => {
      reply.type('text/html; charset=utf-8');
      reply.header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
      return page;
    },
  };
}
