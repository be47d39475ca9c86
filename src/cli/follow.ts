import type { ExecutorClient } from '../client/executor-client.ts';
import type { StoredEvent } from '../protocol/events.ts';
import type { Execution } from '../protocol/execution.ts';
import type { CommandDeps } from './command-deps.ts';
import { exitCodeOf } from './exit-codes.ts';
import { Interrupts } from './interrupts.ts';
import { Renderer } from './render.ts';
import { summary } from './summary.ts';
import type { Terminal } from './terminal.ts';

/** A run that has to wait shorter than this says nothing about it. */
const PATIENCE_MS = 1_000;

export interface FollowOptions {
  start(): Promise<Execution>;
  /** What stands behind commands to paste, so that they find the same service. */
  pasted?: string;
  schema?: string;
  json?: boolean;
  quiet?: boolean;
}

/**
 * Starts an execution and follows it to its end. The first SIGINT, SIGTERM or SIGHUP cancels it, a second one leaves
 * at once; a stdout that takes no more cancels it too, because nobody follows the run any more.
 * @returns the exit code
 */
export async function follow(deps: CommandDeps, client: ExecutorClient, options: FollowOptions): Promise<number> {
  const { terminal } = deps;
  const { schema, json = false, quiet = false } = options;
  const textTo = schema === undefined ? terminal.stdout : terminal.stderr;
  const renderer = new Renderer(terminal, { textTo, statusLine: !json && !quiet });
  const interrupts = new Interrupts(client, renderer);
  let waiting: NodeJS.Timeout | undefined;
  try {
    interrupts.listen(terminal);
    const { id, state } = await options.start();
    interrupts.cancels(id);
    if (state === 'queued' && !json) waiting = setTimeout(() => announceWait(client, { id, renderer }), PATIENCE_MS);
    for await (const batch of client.events(id, { after: 0, onReconnect: connectionLost(renderer) })) {
      show(batch, { terminal, renderer, json, quiet });
      await drained(terminal.stdout);
    }
    const execution = await client.get(id);
    renderer.stop();
    finish(execution, { deps, options, renderer });
    return exitCodeOf(execution);
  } finally {
    clearTimeout(waiting);
    renderer.stop();
    interrupts.ignore(terminal);
    await client.close({ force: interrupts.leaving });
  }
}

/** Says that the connection to a server is made again. */
export function connectionLost(renderer: Renderer): () => void {
  return () => renderer.note('yellow', 'connection lost; trying again');
}

/** Says who is in the way of a run that waits. */
function announceWait(client: ExecutorClient, { id, renderer }: { id: string; renderer: Renderer }): void {
  waitText(client, id).then(
    (text) => {
      if (text === undefined) return;
      renderer.activity('waiting for another run');
      renderer.note('yellow', text);
    },
    // The run itself meets whatever is wrong with the storage, and says so.
    () => {},
  );
}

async function waitText(client: ExecutorClient, id: string): Promise<string | undefined> {
  const { state, workspace, sessionId, queuePosition } = await client.get(id);
  if (state !== 'queued') return undefined;
  const { executions } = await client.list({ state: 'running', limit: 100 });
  const other = executions.find((running) => running.workspace === workspace || running.sessionId === sessionId);
  const where = workspace.replace(/^local:/, '');
  if (other !== undefined) {
    return `waiting: another run works in ${where} or on this session (${other.id}); this one starts when that has ended`;
  }
  return `waiting for a free place; ${queuePosition ?? 1} in the queue`;
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
  { deps, options, renderer }: { deps: CommandDeps; options: FollowOptions; renderer: Renderer },
): void {
  const { terminal } = deps;
  if (options.json) return;
  const { result, outcome } = execution;
  if (options.schema !== undefined) {
    if (result?.structured != null) renderer.answer(`${JSON.stringify(result.structured, null, 2)}\n`);
  } else if (options.quiet && result !== null) {
    renderer.answer(`${result.text}\n`);
  }
  if (options.quiet && outcome?.kind === 'succeeded') return;
  terminal.stderr.write(summary(deps, execution, options.pasted ?? ''));
}
