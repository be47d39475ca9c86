import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { onTestFinished } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { Execution } from '../../src/protocol/execution.ts';
import type { ExecutionRequestInput } from '../../src/protocol/execution-request.ts';
import { type ScriptedModel, startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { openServer, type Server } from '../../src/server/server.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface TestServer extends Calls {
  server: Server;
  model: ScriptedModel;
  folder: string;
  /** Closes it at once, as after a test. */
  stop(): Promise<void>;
}

/** What a caller with the key asks of a service. */
export interface Calls {
  url: string;
  key: string;
  /** `fetch` of a path with the key; a body that is an object is sent as JSON. */
  call(path: string, init?: CallInit): Promise<Answer>;
  /** Starts an execution and returns it. */
  submit(request: ExecutionRequestInput): Promise<Execution>;
  /** Runs a task to its end. */
  run(request: ExecutionRequestInput): Promise<Execution>;
  get(id: string): Promise<Execution>;
  /** The text of an execution's whole event stream, once the execution has finished. */
  stream(id: string, after?: number): Promise<string>;
}

/** A response whose JSON a test looks into as it likes. */
export interface Answer extends Omit<Response, 'json'> {
  json(): Promise<ReturnType<typeof JSON.parse>>;
}

export interface CallInit extends Omit<RequestInit, 'body' | 'headers'> {
  headers?: Record<string, string>;
  json?: unknown;
  body?: string | ArrayBuffer;
}

export interface ServerOptions {
  script?: Parameters<typeof startScriptedModel>[0]['script'];
  env?: Record<string, string>;
  /** An existing folder with the data of an earlier service. */
  folder?: string;
  /** Says which credentials the model takes; all when left out. */
  credential?: (presented: string) => boolean;
  logger?: Logger;
  /** The key that is presented; the one in the data folder when left out. */
  key?: string;
}

/** A whole service that listens on a free port, with its own data folder and scripted model; closed after the test. */
export async function testServer(options: ServerOptions = {}): Promise<TestServer> {
  const model = await startScriptedModel({
    script: options.script ?? [{ kind: 'text', text: 'Hello' }],
    credential: options.credential,
  });
  const folder = options.folder ?? (await temporaryFolder());
  const config = loadConfig({
    PATH: process.env.PATH,
    HOME: folder,
    CC_DATA_DIR: `${folder}/data`,
    CC_PORT: '0',
    CC_WARM_POOL: '0',
    CC_DRAIN_MS: '0',
    // Proving a level takes a moment; tests of levels ask for one.
    CC_ISOLATION: 'L1',
    ANTHROPIC_API_KEY: 'sk-ant-api03-test',
    ANTHROPIC_BASE_URL: model.url,
    ...options.env,
  });
  const logger = options.logger ?? createLogger('silent');
  const server = await openServer(config, { logger, version: '0.0.0-test' });
  const stop = async (): Promise<void> => {
    server.stop({ force: true });
    await server.ended;
  };
  onTestFinished(() => model.close());
  onTestFinished(stop);
  const key = options.key ?? (await readFile(`${folder}/data/key`, 'utf8')).trim();
  return { server, model, folder, stop, ...callsTo(server.url, key) };
}

export function callsTo(url: string, key: string): Calls {
  const call = (path: string, { json, headers, ...init }: CallInit = {}): Promise<Answer> =>
    fetch(`${url}${path}`, {
      ...init,
      headers: {
        authorization: `Bearer ${key}`,
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(json === undefined ? {} : { body: JSON.stringify(json), method: init.method ?? 'POST' }),
    });
  const asExecution = async (response: Answer): Promise<Execution> => {
    if (response.status >= 300) throw new Error(`${response.status}: ${await response.text()}`);
    return Execution.parse(await response.json());
  };
  return {
    url,
    key,
    call,
    submit: async (request) => asExecution(await call('/v1/executions', { json: request })),
    run: async (request) => asExecution(await call('/v1/execute', { json: request })),
    get: async (id) => asExecution(await call(`/v1/executions/${id}`)),
    stream: async (id, after = 0) => {
      const headers = { accept: 'text/event-stream' };
      return (await call(`/v1/executions/${id}/events?after=${after}`, { headers })).text();
    },
  };
}

/** The events in the text of an event stream, as `[id, type, data]`. */
export function eventsIn(stream: string): [number, string, string][] {
  return [...stream.matchAll(/^id: (\d+)\nevent: (\S+)\ndata: (.*)\n\n/gm)].map(([, id, type, data]) => [
    Number(id),
    type ?? '',
    data ?? '',
  ]);
}
