import { z } from 'zod';
import { AuditPage } from './audit.ts';
import { CREDENTIAL_ROUTES } from './credential-routes.ts';
import type { ErrorCode } from './errors.ts';
import { Execution } from './execution.ts';
import { ExecutionRequest } from './execution-request.ts';
import { HealthDetail, HealthState } from './health.ts';
import type { HttpRoute } from './http-route.ts';
import {
  AuditQuery,
  EventPage,
  EventsQuery,
  ExecuteQuery,
  ExecutionPage,
  InputBody,
  Listing,
  ListQuery,
  UnpackedArchive,
  Welcome,
  WrittenFile,
} from './http-schemas.ts';
import { KEY_ROUTES } from './key-routes.ts';

/** Any text: one that is no id of an execution is `not_found`, like an id that nothing has. */
const ExecutionId = z.string().min(1).max(200);
const WorkspaceId = z.string().min(1).max(200);
const FilePath = z.string().max(4096);

const EVENT_STREAM = { media: 'text/event-stream' };
const STARTING = [
  'not_found',
  'idempotency_conflict',
  'payload_too_large',
  'unsupported_media_type',
  'quota_exceeded',
  'queue_full',
  'shutting_down',
  'isolation_unavailable',
  'not_implemented',
] as const satisfies readonly ErrorCode[];

const byId = z.strictObject({ executionId: ExecutionId });
const byFile = z.strictObject({ name: WorkspaceId, path: FilePath });
const byWorkspace = z.strictObject({ name: WorkspaceId });

function control(action: 'pause' | 'resume' | 'cancel', summary: string) {
  return {
    method: 'POST',
    path: `/v1/executions/{executionId}/${action}`,
    summary,
    access: 'executions:write',
    params: byId,
    responses: { 200: [{ json: Execution }] },
    errors: ['not_found', 'conflict'],
  } as const satisfies HttpRoute;
}

/** Every route of the service. The HTTP door, the OpenAPI document and the tests are made from this table. */
export const HTTP_ROUTES = {
  execute: {
    method: 'POST',
    path: '/v1/execute',
    summary: 'Run a task and wait for its end, or follow its events as an event stream',
    access: 'executions:write',
    query: ExecuteQuery,
    headers: ['idempotency-key'],
    body: { json: ExecutionRequest },
    responses: { 200: [{ json: Execution }, EVENT_STREAM], 202: [{ json: Execution }] },
    errors: STARTING,
  },
  createExecution: {
    method: 'POST',
    path: '/v1/executions',
    summary: 'Accept a task; when this answers, it is stored',
    access: 'executions:write',
    headers: ['idempotency-key'],
    body: { json: ExecutionRequest },
    responses: { 202: [{ json: Execution }] },
    errors: STARTING,
  },
  listExecutions: {
    method: 'GET',
    path: '/v1/executions',
    summary: 'List executions, newest first',
    access: 'executions:read',
    query: ListQuery,
    responses: { 200: [{ json: ExecutionPage }] },
    errors: [],
  },
  getExecution: {
    method: 'GET',
    path: '/v1/executions/{executionId}',
    summary: 'Read an execution as it is now',
    access: 'executions:read',
    params: byId,
    responses: { 200: [{ json: Execution }] },
    errors: ['not_found'],
  },
  deleteExecution: {
    method: 'DELETE',
    path: '/v1/executions/{executionId}',
    summary: 'Remove a finished execution, its event log and its fresh workspace',
    access: 'executions:write',
    params: byId,
    responses: { 204: [] },
    errors: ['not_found', 'conflict'],
  },
  readEvents: {
    method: 'GET',
    path: '/v1/executions/{executionId}/events',
    summary: 'Read events after a cursor: a page, a long poll, or an event stream',
    access: 'executions:read',
    params: byId,
    query: EventsQuery,
    headers: ['last-event-id'],
    responses: { 200: [{ json: EventPage }, EVENT_STREAM], 204: [] },
    errors: ['not_found', 'cursor_in_future', 'truncated_before'],
  },
  readOutput: {
    method: 'GET',
    path: '/v1/executions/{executionId}/output',
    summary: 'Read the text of the assistant so far',
    access: 'executions:read',
    params: byId,
    responses: { 200: [{ media: 'text/plain' }] },
    errors: ['not_found'],
  },
  pauseExecution: control('pause', 'Stop the whole process tree of a run until it is resumed, for 240 s at most'),
  resumeExecution: control('resume', 'Let a paused run go on'),
  cancelExecution: control(
    'cancel',
    'Ask for the end of an execution; its last event follows when its processes are dead',
  ),
  addInput: {
    method: 'POST',
    path: '/v1/executions/{executionId}/input',
    summary: 'Add a user turn that runs after the current one',
    access: 'executions:write',
    params: byId,
    body: { json: InputBody },
    responses: { 200: [{ json: Execution }] },
    errors: ['not_found', 'conflict', 'payload_too_large', 'unsupported_media_type', 'quota_exceeded'],
  },
  readFile: {
    method: 'GET',
    path: '/v1/workspaces/{name}/files/{path}',
    summary: 'Read a file of a workspace, or list a folder of it',
    access: 'workspaces:read',
    params: byFile,
    responses: { 200: [{ json: Listing }, { media: 'application/octet-stream' }] },
    errors: ['not_found', 'conflict'],
  },
  writeFile: {
    method: 'PUT',
    path: '/v1/workspaces/{name}/files/{path}',
    summary: 'Write a file of a workspace; folders on the way and the workspace itself are made',
    access: 'workspaces:write',
    params: byFile,
    body: { media: '*/*' },
    responses: { 200: [{ json: WrittenFile }], 201: [{ json: WrittenFile }] },
    errors: ['not_found', 'conflict', 'payload_too_large', 'unsupported_media_type', 'quota_exceeded', 'shutting_down'],
  },
  readArchive: {
    method: 'GET',
    path: '/v1/workspaces/{name}/archive',
    summary: 'Read a whole workspace as a tar archive',
    access: 'workspaces:read',
    params: byWorkspace,
    responses: { 200: [{ media: 'application/x-tar' }] },
    errors: ['not_found'],
  },
  writeArchive: {
    method: 'PUT',
    path: '/v1/workspaces/{name}/archive',
    summary: 'Unpack a tar archive into a workspace; the workspace is made when there is none',
    access: 'workspaces:write',
    params: byWorkspace,
    body: { media: 'application/x-tar' },
    responses: { 200: [{ json: UnpackedArchive }] },
    errors: ['not_found', 'conflict', 'payload_too_large', 'unsupported_media_type', 'quota_exceeded', 'shutting_down'],
  },
  readAudit: {
    method: 'GET',
    path: '/v1/audit',
    summary: 'Read the audit log after an entry: a page, or as NDJSON all that is there',
    access: 'admin',
    query: AuditQuery,
    responses: { 200: [{ json: AuditPage }, { media: 'application/x-ndjson' }] },
    errors: [],
  },
  health: {
    method: 'GET',
    path: '/health',
    summary: 'How the service is, for people; with a key, in detail',
    access: 'open',
    responses: { 200: [{ json: HealthState }, { json: HealthDetail }] },
    errors: [],
  },
  live: {
    method: 'GET',
    path: '/health/live',
    summary: 'Whether the process answers',
    access: 'open',
    responses: { 200: [{ json: HealthState }] },
    errors: [],
  },
  ready: {
    method: 'GET',
    path: '/health/ready',
    summary: 'Whether the service takes work; 503 while it drains or is broken',
    access: 'open',
    responses: {
      200: [{ json: HealthState }, { json: HealthDetail }],
      503: [{ json: HealthState }, { json: HealthDetail }],
    },
    errors: [],
  },
  root: {
    method: 'GET',
    path: '/',
    summary: 'What this is, and where everything else is',
    access: 'open',
    responses: { 200: [{ json: Welcome }] },
    errors: [],
  },
  ...KEY_ROUTES,
  ...CREDENTIAL_ROUTES,
  openapi: {
    method: 'GET',
    path: '/v1/openapi.json',
    summary: 'This interface as an OpenAPI 3.1 document',
    access: 'any',
    responses: { 200: [{ media: 'application/json' }] },
    errors: [],
  },
  openrpc: {
    method: 'GET',
    path: '/v1/openrpc.json',
    summary: 'The WebSocket interface as an OpenRPC document',
    access: 'any',
    responses: { 200: [{ media: 'application/json' }] },
    errors: [],
  },
  docs: {
    method: 'GET',
    path: '/docs',
    summary: 'Both interfaces, for people',
    access: 'any',
    responses: { 200: [{ media: 'text/html' }] },
    errors: [],
  },
} as const satisfies Record<string, HttpRoute>;

export type RouteName = keyof typeof HTTP_ROUTES;
