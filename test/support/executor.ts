import { afterEach } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import type { Caller } from '../../src/executions/new-execution.ts';
import { createLogger } from '../../src/observability/logger.ts';
import type { ExecutionEvent } from '../../src/protocol/events.ts';
import type { Execution } from '../../src/protocol/execution.ts';
import type { ExecutionRequestInput } from '../../src/protocol/execution-request.ts';
import { type ScriptedModel, startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { createService, type Service } from '../../src/service.ts';
import { temporaryFolder } from './temporary-folder.ts';

const CALLER: Caller = { tenant: 'local' };

export interface Executor {
  service: Service;
  model: ScriptedModel;
  folder: string;
  start(request: ExecutionRequestInput, caller?: Caller): Promise<Execution>;
  /** Follows an execution to its end. */
  follow(id: string): Promise<{ execution: Execution; events: ExecutionEvent[] }>;
  run(request: ExecutionRequestInput, caller?: Caller): Promise<{ execution: Execution; events: ExecutionEvent[] }>;
  /** Resolves with the first event of a type. */
  eventOf(id: string, type: ExecutionEvent['type']): Promise<ExecutionEvent>;
}

const open: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

export interface ExecutorOptions {
  script?: Parameters<typeof startScriptedModel>[0]['script'];
  env?: Record<string, string>;
  /** An existing data folder; a new one when left out. */
  folder?: string;
  adoptQueued?: boolean;
  /** How many processes are started ahead; none when left out. */
  warmPool?: number;
}

/** A service with its own data folder and scripted model, closed after the test. */
export async function executor(options: ExecutorOptions = {}): Promise<Executor> {
  const model = await startScriptedModel({ script: options.script ?? [{ kind: 'text', text: 'Hello' }] });
  const folder = options.folder ?? (await temporaryFolder());
  const config = loadConfig({
    PATH: process.env.PATH,
    HOME: folder,
    CC_DATA_DIR: `${folder}/data`,
    ANTHROPIC_API_KEY: 'sk-ant-api03-test',
    ANTHROPIC_BASE_URL: model.url,
    // Proving a level takes a moment; tests of levels ask for one.
    CC_ISOLATION: 'L1',
    CC_WARM_POOL: String(options.warmPool ?? 0),
    ...options.env,
  });
  const service = await createService(config, { logger: createLogger('silent') });
  await service.begin({ adoptQueued: options.adoptQueued ?? false });
  service.warm.open();
  open.push(
    () => model.close(),
    () => service.close({ force: true }),
  );
  const { executions } = service;
  const follow = async (id: string): Promise<{ execution: Execution; events: ExecutionEvent[] }> => {
    const events: ExecutionEvent[] = [];
    for await (const batch of executions.events(id, { after: 0 }, CALLER)) {
      for (const { bytes } of batch) events.push(JSON.parse(bytes));
    }
    return { execution: await executions.get(id, CALLER), events };
  };
  const start = (request: ExecutionRequestInput, caller = CALLER): Promise<Execution> =>
    executions.start(request, caller);
  return {
    service,
    model,
    folder,
    start,
    follow,
    run: async (request, caller) => follow((await start(request, caller)).id),
    eventOf: async (id, type) => {
      for await (const batch of executions.events(id, { after: 0 }, CALLER)) {
        const found = batch.find((event) => event.type === type);
        if (found !== undefined) return JSON.parse(found.bytes);
      }
      throw new Error(`execution ${id} ended without ${type}`);
    },
  };
}
