import type { ExecutorClient } from '../client/executor-client.ts';
import type { StoredEvent } from '../protocol/events.ts';
import type { Execution } from '../protocol/execution.ts';
import type { CommandDeps } from './command-deps.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { Renderer } from './render.ts';
import { summary } from './summary.ts';
import type { Terminal } from './terminal.ts';

export interface FollowOptions {
  start(): Promise<Execution>;
  schema?: string;
  json?: boolean;
  quiet?: boolean;
}

/**
 * Starts an execution and follows it to its end. The first SIGINT, SIGTERM or SIGHUP cancels it, a second one leaves
 * at once; a reader of stdout that goes away cancels it too, because the run is bound to this process.
 * @returns the exit code
 */
export async function follow(deps: CommandDeps, client: ExecutorClient, options: FollowOptions): Promise<number> {
  const { terminal } = deps;
  const structured = options.schema !== undefined;
  const renderer = new Renderer(terminal, { textTo: structured ? terminal.stderr : terminal.stdout });
  const interrupts = new Interrupts(client, renderer);
  try {
    interrupts.listen(terminal);
    const { id, queuePosition } = await options.start();
    interrupts.cancels(id);
    if (queuePosition !== null) setTimeout(() => void announceWait(client, { id, renderer }), 1000).unref();
    for await (const batch of client.events(id, { after: 0 })) {
      show(batch, { terminal, renderer, json: options.json ?? false, quiet: options.quiet ?? false });
      await drained(terminal.stdout);
    }
    const execution = await client.get(id);
    renderer.stop();
    finish(execution, { deps, options, structured, renderer });
    return exitCodeOf(execution);
  } finally {
    renderer.stop();
    interrupts.ignore();
    await client.close({ force: interrupts.leaving });
  }
}

/** Says who is in the way when a run waits for a second or longer. */
async function announceWait(
  client: ExecutorClient,
  { id, renderer }: { id: string; renderer: Renderer },
): Promise<void> {
  const { state, workspace } = await client.get(id);
  if (state !== 'queued') return;
  renderer.activity('waiting for another run');
  renderer.note(
    'yellow',
    `another run works in ${workspace.replace(/^local:/, '')} or on this session; this one starts when that has ended`,
  );
}

export function show(
  batch: readonly StoredEvent[],
  { terminal, renderer, json, quiet }: { terminal: Terminal; renderer: Renderer; json: boolean; quiet: boolean },
): void {
  for (const { bytes } of batch) {
    if (json) terminal.stdout.write(`${bytes}\n`);
    else if (!quiet) renderer.show(JSON.parse(bytes));
  }
}

/** Waits until a slow reader has taken what was written, or has gone away. */
export async function drained(stream: NodeJS.WriteStream): Promise<void> {
  if (!stream.writableNeedDrain || stream.destroyed) return;
  await new Promise<void>((resolve) => {
    for (const event of ['drain', 'close', 'error']) stream.once(event, () => resolve());
  });
}

function finish(
  execution: Execution,
  {
    deps,
    options,
    structured,
    renderer,
  }: { deps: CommandDeps; options: FollowOptions; structured: boolean; renderer: Renderer },
): void {
  const { terminal } = deps;
  if (!options.json) {
    if (structured && execution.result?.structured != null)
      renderer.answer(`${JSON.stringify(execution.result.structured, null, 2)}\n`);
    else if (options.quiet && execution.result !== null && !structured) renderer.answer(`${execution.result.text}\n`);
  }
  if (!options.json && !(options.quiet && execution.outcome?.kind === 'succeeded'))
    terminal.stderr.write(summary(deps, execution));
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What a person's Ctrl-C means: once to cancel, twice to leave. */
class Interrupts {
  leaving = false;
  readonly #client: ExecutorClient;
  readonly #renderer: Renderer;
  #id: string | undefined;
  #count = 0;

  constructor(client: ExecutorClient, renderer: Renderer) {
    this.#client = client;
    this.#renderer = renderer;
  }

  listen({ stdout }: CommandDeps['terminal']): void {
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    stdout.on('error', this.#onBrokenPipe);
  }

  ignore(): void {
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }

  /** Which execution a signal cancels; one that came before counts. */
  cancels(id: string): void {
    this.#id = id;
    if (this.#count > 0) void this.#client.cancel(id);
  }

  readonly #onSignal = (): void => {
    this.#count += 1;
    if (this.#count === 1) {
      this.#renderer.note('yellow', 'cancelling; once more to leave at once');
      if (this.#id !== undefined) void this.#client.cancel(this.#id);
      return;
    }
    if (this.leaving) process.exit(EXIT.cancelled);
    this.leaving = true;
    void this.#client.close({ force: true }).finally(() => process.exit(EXIT.cancelled));
  };

  readonly #onBrokenPipe = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') throw error;
    if (this.#id !== undefined) void this.#client.cancel(this.#id);
  };
}
