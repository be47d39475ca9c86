import { componentSchemas, type JsonSchema } from './component-schemas.ts';
import type { HttpRoute } from './http-route.ts';
import { HTTP_ROUTES, type RouteName } from './http-routes.ts';
import { type Operation, operation } from './openapi-operation.ts';
import { OPENAPI_TEXT } from './route-texts.ts';

export interface OpenApi {
  openapi: string;
  info: { title: string; version: string; license: { name: string; identifier: string }; description: string };
  servers: { url: string }[];
  security: Record<string, string[]>[];
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: {
    schemas: ReturnType<typeof componentSchemas>;
    headers: Record<string, object>;
    securitySchemes: Record<string, object>;
  };
}

const HEADERS = {
  RequestId: { description: 'Names the request in the log of the service.', schema: { type: 'string' } },
  Location: { description: 'The path of the execution.', schema: { type: 'string' } },
  RetryAfter: {
    description: 'When the same request may succeed, in seconds; left out where nobody can say.',
    schema: { type: 'integer', minimum: 0 },
  },
};

/** The HTTP interface as an OpenAPI document (https://spec.openapis.org/oas/v3.1.1). */
export function openApi(version: string): OpenApi {
  return {
    openapi: '3.1.1',
    info: {
      title: 'CC Executor',
      version,
      license: { name: 'MIT', identifier: 'MIT' },
      description: OPENAPI_TEXT,
    },
    servers: [{ url: '/' }],
    security: [{ bearerAuth: [] }, { apiKey: [] }],
    tags: [
      { name: 'executions', description: 'Starting, following and steering runs.' },
      { name: 'workspaces', description: 'The files that runs work on.' },
      { name: 'keys', description: 'What opens the service.' },
      { name: 'service', description: 'The service itself.' },
    ],
    paths: paths(),
    components: {
      schemas: withoutUnbuilt(componentSchemas()),
      headers: HEADERS,
      securitySchemes: {
        bearerAuth: {
          type: 'http',
          scheme: 'bearer',
          description: 'A key or a token; the scope stands with each operation.',
        },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key', description: 'The same, in a header of its own.' },
      },
    },
  };
}

/** Fields that are refused with `not_implemented` whatever is in them: what is not built is not offered. */
const UNBUILT_FIELDS: readonly string[] = ['checks', 'egress'];

function withoutUnbuilt({ ExecutionRequest, ...schemas }: Record<string, JsonSchema>): Record<string, JsonSchema> {
  const properties = Object.entries(ExecutionRequest?.properties ?? {}).filter(
    ([name]) => !UNBUILT_FIELDS.includes(name),
  );
  return { ExecutionRequest: { ...ExecutionRequest, properties: Object.fromEntries(properties) }, ...schemas };
}

function paths(): OpenApi['paths'] {
  const found: OpenApi['paths'] = {};
  for (const name of Object.keys(HTTP_ROUTES) as RouteName[]) {
    const { method, path }: HttpRoute = HTTP_ROUTES[name];
    found[path] = { ...found[path], [method.toLowerCase()]: operation(name) };
  }
  return found;
}
